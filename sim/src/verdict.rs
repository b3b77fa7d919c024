//! stub
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs)]
pub enum Invariant {
    DDur,
    DOldnew,
    DLeak,
    DRyw,
    DStable,
    LProg,
    EHonest,
    ELocal,
    EOpen,
    EPanic,
    FInj,
}
