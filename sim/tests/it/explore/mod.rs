//! The whole search, on toy systems: what it promises, what it finds, and what it says when it
//! cannot.

mod exactness;
mod misbehaviour;
mod pitfalls;
mod promises;
mod reductions;
mod saved;
