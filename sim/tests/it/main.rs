//! Integration tests of the simulator, one module per part.

mod executor;
