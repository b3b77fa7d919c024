//! Hostile images: good images with one thing changed, opened, read, written, checked and repaired.
//!
//! What must hold of each, whatever was changed:
//! * Nothing panics, and disk traffic stays in proportion to the file and to what was asked for.
//! * Looking writes nothing, and neither does an open that fails.
//! * Errors name a structure and a rule.
//! * Guest data never lands where the image has metadata, and of the header only those fields
//!   change that an open image may change.
//! * What a check calls sound opens; what was opened opens again.

mod disk;
mod images;
mod mutants;
mod named;
mod ops;

use std::panic::{AssertUnwindSafe, catch_unwind};

use images::Good;
use mutants::Mutant;
use ops::{Outcome, try_image};

/// Of how many mutants one is tried.
const STRIDE: u64 = if cfg!(debug_assertions) { 97 } else { 1 };
/// Failures that are shown.
const SHOWN_MAX: usize = 25;

/// Tries every mutant of an image.
fn try_all(good: &Good) {
    let mut failures = Vec::new();
    let (mut tried, mut refused, mut worked) = (0_u64, 0_u64, 0_u64);
    let stride = STRIDE * good.stride;
    mutants::each(good, stride, |Mutant { name, bytes }| {
        tried += 1;
        match catch_unwind(AssertUnwindSafe(|| try_image(good, &name, bytes))) {
            Ok(Outcome { opened }) => {
                refused += u64::from(!opened);
                worked += u64::from(opened);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&it| it.to_owned()));
                failures.push(format!("{name}: {}", text.unwrap_or_default()));
            }
        }
    });
    let shown = failures[..failures.len().min(SHOWN_MAX)].join("\n");
    let sums = format!("{tried} tried, {refused} refused, {worked} opened for writing");
    assert!(failures.is_empty(), "{}: {sums}, {} failed:\n{shown}", good.name, failures.len());
    assert!(
        tried * stride > 1000 && refused > 0 && (worked > 0 || tried < 50),
        "{}: {sums}",
        good.name
    );
}

macro_rules! images {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                try_all(&images::$name());
            }
        )*

        /// What the mutants are made of is good.
        #[test]
        fn good_images_are_good() {
            $({
                let good = images::$name();
                let outcome = try_image(&good, "as it is", good.bytes.clone());
                assert!(outcome.opened, "{}", good.name);
            })*
        }
    };
}

images!(
    version_2,
    sectors,
    one_bit_refcounts,
    wide_refcounts_and_bitmaps,
    lazy_and_dirty,
    extended_l2,
    large_clusters,
    data_file
);
