//! Why the program could not do what it was asked, and the exit code for it.

/// A failed verb. Verdicts are not failures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Bad usage, or an input that cannot be used: exit code 2.
    #[error("{0}")]
    Input(String),
    /// A scenario file that cannot be used: exit code 2.
    #[error(transparent)]
    Scenario(#[from] plugpull_sim::scenario::FileError),
    /// The program itself is wrong: exit code 4.
    #[error("{0}")]
    Broken(String),
}

impl Failure {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) | Self::Scenario(_) => 2,
            Self::Broken(_) => 4,
        }
    }
}
