//! Tests of the engine from outside.

mod real_images;
