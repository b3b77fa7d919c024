//! stub
#[expect(missing_docs)]
#[derive(Default)]
pub struct CreateOptions;
#[expect(missing_docs)]
pub async fn create(_: &dyn crate::Disk, _: Option<&dyn crate::Disk>, _: Option<&dyn crate::Disk>, _: &CreateOptions) -> Result<(), crate::Error> { Ok(()) }
