//! Everything that several tasks share.
