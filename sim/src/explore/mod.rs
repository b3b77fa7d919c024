//! Explorations.

mod cuts;
mod execution;
mod found;
mod later;
mod search;
mod session;
mod visited;
