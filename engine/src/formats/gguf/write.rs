//! A planned GGUF file becomes bytes, one tensor at a time, and is opened again and compared.
//!
//! Knows no run folder: whoever calls says where solved layers and replaced tensors come from.

use super::container::ALIGNMENT;
use super::plan::{GgufPart, GgufPlan, Origin};
use super::{fitted, split, types};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::gguf::names::Change;
use crate::formats::emit;
use crate::formats::store::{StoreError, atomic};
use crate::ggml;
use crate::moments::Moments;
use crate::report::{Observer, Verified};
use crate::solved::{Grid, Solved};
use crate::tensor::{Matrix, SourceError, WeightSource};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bytes of a piece that a digest is made of.
const DIGESTED_BYTES: usize = 1 << 20;

/// What a tensor is made of.
#[derive(Debug)]
pub(super) enum Material {
    /// A solved layer, `[out, in]`.
    Solved(Box<Solved>),
    /// Values as transformers has them.
    Values(Vec<f32>),
    /// Blocks of the source that lie as the file wants them.
    Blocks(Vec<u8>),
    /// Bytes of the source in the file's type, rows in the source's order.
    Rows(Vec<u8>),
}

/// How much of the source may go on unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsItIs {
    /// Nothing: values are asked for.
    No,
    /// Blocks, in the order in which they lie.
    Blocks,
    /// Floats, row by row.
    Rows,
}

/// The source's tensor, raised to floats or not.
pub(super) fn of_source(
    source: &dyn WeightSource,
    tensor: &str,
    as_it_is: AsItIs,
) -> Result<Material, StoreError> {
    if as_it_is == AsItIs::Blocks
        && let Some(blocks) = source.read_blocks(tensor)?
    {
        return Ok(Material::Blocks(blocks));
    }
    if as_it_is == AsItIs::Rows
        && let Some(info) = source.info(tensor)
    {
        let mut bytes = vec![0; info.elements() as usize * info.dtype.size_bytes()];
        source.read_bytes(tensor, 0, &mut bytes)?;
        return Ok(Material::Rows(bytes));
    }
    Ok(Material::Values(source.read_f32(tensor)?))
}

/// Where material comes from.
pub(super) trait Materials {
    /// The material of a tensor of the source, bytes only where they may go on as they are.
    fn material(&self, tensor: &str, as_it_is: AsItIs) -> Result<Material, StoreError>;
    /// Whether a tensor is no longer what the source has.
    fn is_new(&self, tensor: &str) -> Result<bool, StoreError>;
    /// The importance of a tensor's inputs, where known.
    fn importance(&self, tensor: &str) -> Option<&[f32]>;
    /// All moments of a tensor's inputs, where known.
    fn moments(&self, tensor: &str) -> Result<Option<Moments>, StoreError>;
}

/// What was written, to be found again: a digest of each tensor's bytes.
pub(super) type Digests = HashMap<String, [u8; 32]>;

/// Writes the files, of which one alone lies at `path`, each atomically; on a failure none stays.
pub(super) fn write(
    path: &Path,
    plan: &GgufPlan,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Digests, StoreError> {
    let mut digests = Digests::new();
    let paths = split::paths(path, plan.files.len());
    for (number, (file, path)) in plan.files.iter().zip(&paths).enumerate() {
        let written = atomic::write_file(path, |output| {
            let failed = StoreError::io("could not be written", path);
            output.write_all(&file.header).map_err(&failed)?;
            for index in file.parts.clone() {
                observer.check()?;
                let part = &plan.parts[index];
                let bytes = part_bytes(part, materials, observer)?;
                digests.insert(part.name.clone(), digest(&bytes));
                output.write_all(&bytes).map_err(&failed)?;
                let padding = bytes.len().next_multiple_of(ALIGNMENT as usize) - bytes.len();
                output
                    .write_all(&[0; ALIGNMENT as usize][..padding])
                    .map_err(&failed)?;
                observer.step(index as u64 + 1, plan.parts.len() as u64);
            }
            Ok(())
        });
        if let Err(error) = written {
            remove(&paths[..number]);
            return Err(error);
        }
    }
    Ok(digests)
}

/// Takes files away that are no good. Best effort: the error that is returned beside says what to do.
pub(super) fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _ = std::fs::remove_file(path);
    }
}

/// SHA-256 of the digests of pieces, which any number of threads can make.
fn digest(bytes: &[u8]) -> [u8; 32] {
    let pieces: Vec<[u8; 32]> = bytes
        .par_chunks(DIGESTED_BYTES)
        .map(|piece| Sha256::digest(piece).into())
        .collect();
    Sha256::digest(pieces.concat()).into()
}

/// Opens the file again: the same bytes in every tensor, and how far their values are from what they were made of.
pub(super) fn verify(
    path: &Path,
    plan: &GgufPlan,
    digests: Option<&Digests>,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    let paths = split::paths(path, plan.files.len());
    let reopened = Checkpoint::open(&paths[0])?;
    let mut verified = Verified {
        tensors: 0,
        max_abs_difference: 0.0,
    };
    for (done, part) in plan.parts.iter().enumerate() {
        observer.check()?;
        let Some(tensor) = part.tensor() else {
            continue;
        };
        let differs = |what: &str| StoreError::Differs {
            tensor: part.name.clone(),
            problem: what.to_owned(),
            path: path.to_owned(),
        };
        let (found, name) = find(&reopened, tensor, part)?;
        let expected = match digests {
            Some(digests) => digests.get(&part.name).copied(),
            None => Some(digest(&part_bytes(part, materials, observer)?)),
        };
        if found.kind != part.kind || expected != Some(found.digest) {
            return Err(differs("held other bytes"));
        }
        verified.tensors += 1;
        observer.step(done as u64 + 1, plan.parts.len() as u64);
        if part.as_it_is != AsItIs::No && !part.order.moves_rows() && !materials.is_new(tensor)? {
            // The very bytes of the source.
            continue;
        }
        let values = reopened.read_f32(&name)?;
        let wanted = match materials.material(tensor, AsItIs::No)? {
            Material::Values(values) => values,
            Material::Blocks(_) | Material::Rows(_) => continue,
            Material::Solved(solved) => {
                let transposed = part.order.change == Change::Transposed;
                emit::dense_values(&solved, transposed).into_data()
            }
        };
        if wanted.len() != values.len() {
            return Err(differs("had another shape"));
        }
        let largest = largest_difference(&wanted, &values);
        if !largest.is_finite() {
            return Err(differs(&format!(
                "has values that {} cannot hold",
                part.kind
            )));
        }
        verified.max_abs_difference = verified.max_abs_difference.max(f64::from(largest));
    }
    Ok(verified)
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

struct Found {
    kind: ggml::GgmlType,
    digest: [u8; 32],
}

/// The tensor of the reopened file, whose names have the usual prefix.
fn find(
    reopened: &Checkpoint,
    tensor: &str,
    part: &GgufPart,
) -> Result<(Found, String), StoreError> {
    let name = reopened
        .names()
        .into_iter()
        .find(|name| name == tensor || reopened.stored_name(name) == Some(part.name.as_str()));
    let missing = || SourceError::Missing {
        name: part.name.clone(),
    };
    let name = name.ok_or_else(missing)?;
    let kind = reopened.block_type(&name).ok_or_else(missing)?;
    let bytes = reopened.block_bytes(&name)?;
    let digest = digest(&bytes);
    Ok((Found { kind, digest }, name))
}

/// The bytes of one tensor.
fn part_bytes(
    part: &GgufPart,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Vec<u8>, StoreError> {
    let tensor = match &part.origin {
        Origin::Made(values) => return Ok(encode(part, values, None)),
        Origin::Tensor(tensor) => tensor,
    };
    let mut is_pruned = false;
    let values = match materials.material(tensor, part.as_it_is)? {
        Material::Blocks(bytes) => return Ok(bytes),
        Material::Rows(bytes) if !part.order.moves_rows() => return Ok(bytes),
        Material::Rows(bytes) => {
            return Ok(each_row(part, |row, output| {
                output.copy_from_slice(&bytes[row * output.len()..(row + 1) * output.len()]);
            }));
        }
        Material::Solved(solved) => match &solved.grid {
            Grid::Affine(grid) if types::of_solved(&solved) == Some(part.kind) => {
                return Ok(each_row(part, |row, bytes| {
                    types::pack_row(part.kind, &solved, grid, row, bytes);
                }));
            }
            _ => {
                is_pruned = solved.mask.is_some();
                emit::dense_values(&solved, false).into_data()
            }
        },
        Material::Values(values) => match part.order.change {
            Change::Transposed if part.shape.len() == 2 => {
                // In the source: `[in, out]`.
                Matrix::new(part.shape[1], part.shape[0], values)
                    .transposed()
                    .into_data()
            }
            Change::PlusOne => values.iter().map(|value| value + 1.0).collect(),
            _ => values,
        },
    };
    // Codes that make up for each other's errors would fill zeros again.
    let is_moved = part.shape.len() == 2 && ggml::grid_of(part.kind).is_some() && !is_pruned;
    let moments = match is_moved {
        true => materials.moments(tensor)?,
        false => None,
    };
    if let Some(moments) = moments.filter(|moments| moments.width() == part.columns()) {
        let weights = Matrix::new(part.shape[0], part.columns(), values);
        return fitted::encode(part, &weights, &moments, observer);
    }
    let importance = materials.importance(tensor);
    let importance = importance.filter(|importance| importance.len() == part.columns());
    Ok(encode(part, &values, importance))
}

/// Rows `[out, in]` of the source as blocks, in the file's order.
fn encode(part: &GgufPart, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let columns = if part.shape.len() < 2 {
        1
    } else {
        part.columns()
    };
    each_row(part, |row, bytes| {
        let values = &values[row * columns..(row + 1) * columns];
        ggml::encode_row(part.kind, values, importance, bytes);
    })
}

/// Fills each row of the file from a row of the source. A vector is so many rows of one value.
pub(super) fn each_row(part: &GgufPart, fill: impl Fn(usize, &mut [u8]) + Sync) -> Vec<u8> {
    let rows: usize = match part.shape.as_slice() {
        [only] => *only,
        [] => 1,
        [outer @ .., _] => outer.iter().product(),
    };
    let mut bytes = vec![0; part.size_bytes as usize];
    if rows == 0 || bytes.is_empty() {
        return bytes;
    }
    let mut sources = vec![0; rows];
    for row in 0..rows {
        sources[part.order.stored_row(row, rows)] = row;
    }
    let row_bytes = bytes.len() / rows;
    bytes
        .par_chunks_mut(row_bytes)
        .zip(&sources)
        .for_each(|(bytes, &row)| fill(row, bytes));
    bytes
}
