//! What the planted bugs of every format have in common: their names, and the set that is built in.

/// Declares a format's `Bug`s, each with the name that scenarios use, and the set `PlantedBugs`.
///
/// Without the feature `planted` the set is always empty, and asking it is the constant false.
macro_rules! planted_bugs {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal,)+) => {
        /// A planted bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Bug {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Bug {
            /// Every bug, in order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name used in scenarios.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The bug that scenarios call `id`.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|bug| bug.id() == id)
            }
        }

        /// The bugs planted in one opened image.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct PlantedBugs {
            #[cfg(feature = "planted")]
            bits: u128,
        }

        impl PlantedBugs {
            /// No bug.
            pub const NONE: Self = Self {
                #[cfg(feature = "planted")]
                bits: 0,
            };

            /// Exactly these bugs.
            #[cfg(feature = "planted")]
            #[must_use]
            pub fn of(bugs: &[Bug]) -> Self {
                Self { bits: bugs.iter().fold(0, |bits, &bug| bits | 1 << bug as u8) }
            }

            /// Whether `bug` is planted.
            #[cfg(feature = "planted")]
            #[must_use]
            pub fn has(self, bug: Bug) -> bool {
                self.bits >> bug as u8 & 1 == 1
            }

            /// Whether `bug` is planted: never, without the feature.
            #[cfg(not(feature = "planted"))]
            #[must_use]
            #[inline(always)]
            pub fn has(self, _bug: Bug) -> bool {
                false
            }
        }
    };
}

pub(crate) use planted_bugs;
