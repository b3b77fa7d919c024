//! stub
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum GuestOp {
    Write { offset: u64, len: u64 },
    Read { offset: u64, len: u64 },
    Flush,
    Close,
    WaitForJobs,
}
impl std::fmt::Display for GuestOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
