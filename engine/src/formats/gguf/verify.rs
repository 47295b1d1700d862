//! A written GGUF file is opened again and compared with what it was made of.
//!
//! Copied parts are compared with the source's own bytes; of others the bytes must be those that were written, and their values
//! as near to the material as the type allows. Knows no run folder.

use super::plan::{GgufPart, GgufPlan};
use super::split;
use super::write::{AsItIs, Digests, Material, Materials, copied, digest, part_bytes, pieces};
use crate::checkpoint::Checkpoint;
use crate::formats::emit;
use crate::formats::store::StoreError;
use crate::packed::Change;
use crate::report::{Observer, Verified};
use crate::tensor::{SourceError, WeightSource};
use rayon::prelude::*;
use std::path::Path;

/// Opens the files again: the same bytes in every tensor, and how far their values are from what they were made of.
pub(super) fn verify(
    path: &Path,
    plan: &GgufPlan,
    digests: Option<&Digests>,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    let paths = split::paths(path, plan.files.len());
    let reopened = Checkpoint::open(&paths[0])?;
    let verifier = Verifier {
        path,
        reopened: &reopened,
        digests,
        materials,
        observer,
    };
    let mut verified = Verified {
        tensors: 0,
        max_abs_difference: 0.0,
    };
    for (done, part) in plan.parts.iter().enumerate() {
        observer.check()?;
        if let Some(tensor) = part.tensor() {
            let difference = verifier.difference(part, tensor)?;
            verified.max_abs_difference = verified.max_abs_difference.max(f64::from(difference));
            verified.tensors += 1;
        }
        observer.step(done as u64 + 1, plan.parts.len() as u64);
    }
    Ok(verified)
}

struct Verifier<'a> {
    path: &'a Path,
    reopened: &'a Checkpoint,
    digests: Option<&'a Digests>,
    materials: &'a dyn Materials,
    observer: &'a dyn Observer,
}

impl Verifier<'_> {
    /// The largest difference between a part's values and what they were made of.
    fn difference(&self, part: &GgufPart, tensor: &str) -> Result<f32, StoreError> {
        let name = self.name(part)?;
        if self.reopened.block_type(&name) != Some(part.kind) {
            return Err(self.differs(part, "has another type"));
        }
        if let Some(tensor) = copied(part, self.materials)? {
            self.compare_copied(part, tensor, &name)?;
            return Ok(0.0);
        }
        let is_moved = part.as_it_is == AsItIs::MovedRows && !self.materials.is_new(tensor)?;
        let found = self.reopened.block_bytes(&name)?;
        let is_same = match self.digests.and_then(|digests| digests.get(&part.name)) {
            // The source says itself what its rows are.
            Some(expected) if !is_moved => *expected == digest(&found),
            _ => found == part_bytes(part, self.materials, self.observer)?,
        };
        match is_same {
            false => Err(self.differs(part, "held other bytes")),
            true if is_moved => Ok(0.0),
            true => self.compare_values(part, tensor, &name),
        }
    }

    fn compare_copied(&self, part: &GgufPart, tensor: &str, name: &str) -> Result<(), StoreError> {
        let mut found = Vec::new();
        pieces(part, tensor, self.materials, &mut |offset, expected| {
            found.resize(expected.len(), 0);
            self.reopened.read_blocks(name, offset, &mut found)?;
            match found == expected {
                true => Ok(()),
                false => Err(self.differs(part, "held other bytes")),
            }
        })
    }

    fn compare_values(&self, part: &GgufPart, tensor: &str, name: &str) -> Result<f32, StoreError> {
        let values = self.reopened.read_f32(name)?;
        let wanted = match self.materials.material(tensor, AsItIs::No)? {
            Material::Values(values) => values,
            Material::Rows(_) => return Err(self.differs(part, "was asked for values")),
            Material::Solved(solved) => {
                let transposed = part.order.change == Change::Transposed;
                emit::dense_values(&solved, transposed).into_data()
            }
        };
        if wanted.len() != values.len() {
            return Err(self.differs(part, "had another shape"));
        }
        let largest = largest_difference(&wanted, &values);
        match largest.is_finite() {
            true => Ok(largest),
            false => Err(self.differs(part, &format!("has values that {} cannot hold", part.kind))),
        }
    }

    /// The tensor's name in the reopened file, where names have the usual prefix.
    fn name(&self, part: &GgufPart) -> Result<String, StoreError> {
        let mut names = self.reopened.names().into_iter();
        let found = names.find(|name| self.reopened.stored_name(name) == Some(part.name.as_str()));
        let missing = || SourceError::Missing {
            name: part.name.clone(),
        };
        Ok(found.ok_or_else(missing)?)
    }

    fn differs(&self, part: &GgufPart, what: &str) -> StoreError {
        StoreError::Differs {
            tensor: part.name.clone(),
            problem: what.to_owned(),
            path: self.path.to_owned(),
        }
    }
}

/// Not finite where a value is not, and was another before.
fn largest_difference(wanted: &[f32], found: &[f32]) -> f32 {
    let differences = wanted.par_iter().zip(found).map(|(wanted, found)| {
        let difference = (wanted - found).abs();
        match wanted.to_bits() == found.to_bits() {
            true => 0.0,
            false if difference.is_nan() => f32::INFINITY,
            false => difference,
        }
    });
    // The largest does not depend on the order.
    differences.reduce(|| 0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_no_small_difference() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        for (wanted, found, expected) in [
            ([1.0, 2.0], [1.0, 2.5], 0.5),
            ([1.0, infinity], [1.0, infinity], 0.0),
            ([1.0, nan], [1.0, nan], 0.0),
            ([1.0, 7e4], [1.0, infinity], infinity),
            ([1.0, infinity], [1.0, -infinity], infinity),
            ([1.0, 2.0], [nan, 2.0], infinity),
        ] {
            let difference = largest_difference(&wanted, &found);
            assert!(difference == expected, "{wanted:?} {found:?}: {difference}");
        }
    }
}
