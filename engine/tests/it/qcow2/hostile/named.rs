//! One test for each entry of the catalogue of bugs, with the geometry of its scenario.
