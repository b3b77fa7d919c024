//! An ordinary file as a disk.
