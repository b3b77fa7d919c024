//! The proof that nothing was left out: what the ways through a program stand for adds up to the
//! number of crash states.

use num_bigint::BigUint;

/// A sum and what it has to be.
///
/// The number of crash states is a product over the variables of a crash point, known before
/// anything is explored. Each way through recovery stands for the states that agree with all of its
/// answers. Every state agrees with exactly one way; so the sum over all ways is the product, and a
/// way that was forgotten, taken twice or counted wrongly shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    states: BigUint,
    sum: BigUint,
    ways: u64,
}

impl Certificate {
    /// For a crash point with so many states, none of them seen.
    #[must_use]
    pub fn new(states: BigUint) -> Self {
        Self { states, sum: BigUint::ZERO, ways: 0 }
    }

    /// Adds the states that one way stands for.
    pub fn add(&mut self, states: &BigUint) {
        self.sum += states;
        self.ways += 1;
    }

    /// How many ways there were so far.
    #[must_use]
    pub fn ways(&self) -> u64 {
        self.ways
    }

    /// The states that exist.
    #[must_use]
    pub fn states(&self) -> &BigUint {
        &self.states
    }

    /// The states that were seen.
    #[must_use]
    pub fn sum(&self) -> &BigUint {
        &self.sum
    }

    /// Compares, once every way was taken.
    ///
    /// # Errors
    /// What does not add up.
    pub fn verify(&self) -> Result<(), String> {
        if self.sum == self.states {
            return Ok(());
        }
        Err(format!(
            "the certificate does not add up: {} ways stand for {} crash states, and there are {}",
            self.ways, self.sum, self.states
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_to_add_up() {
        let mut certificate = Certificate::new(BigUint::from(3_u32));
        certificate.add(&BigUint::from(2_u32));
        assert!(certificate.verify().unwrap_err().contains("1 ways stand for 2 crash states"));
        certificate.add(&BigUint::from(1_u32));
        assert_eq!(certificate.verify(), Ok(()));
        certificate.add(&BigUint::from(1_u32));
        assert!(certificate.verify().is_err());
    }
}
