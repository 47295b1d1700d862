//! Bytes become a solved layer. Every length and range is checked, since both manifest and parts may come from any file.

use super::stored::{FactorKind, Sparsity, Stored};
use super::{CodeKind, LayerManifest, Part, PartSpec, UnpackError, bits, floats, sparse};
use crate::codebook::{BlockCodebook, BlockScales, Palettes};
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::mask::Mask;
use crate::solved::{Codes, Floats, Grid, LowRank, Solved};
use crate::tensor::{Dtype, Matrix};

/// Turns `pack` around; codes that zeros leave out come back as 0.
pub fn unpack(manifest: &LayerManifest, parts: &[Part]) -> Result<Solved, UnpackError> {
    let found = Found {
        manifest,
        specs: manifest.weight_parts()?,
        parts,
    };
    let mask = found.mask()?;
    let values = found.codes(mask.as_ref())?;
    let grid = found.grid(mask.as_ref())?;
    let factors = match manifest.stored.factors {
        Some(kind) => Some(found.factors(kind)?),
        None => None,
    };
    Ok(Solved {
        method: manifest.method(),
        codes: Codes {
            rows: manifest.rows,
            columns: manifest.columns,
            values,
        },
        grid,
        mask,
        factors,
        loss: parse_loss(manifest)?,
        warnings: manifest
            .origin
            .as_ref()
            .map_or_else(Vec::new, |origin| origin.warnings.clone()),
    })
}

/// A manifest and parts that may be what it says.
struct Found<'a> {
    manifest: &'a LayerManifest,
    specs: Vec<PartSpec>,
    parts: &'a [Part],
}

impl<'a> Found<'a> {
    fn stored(&self) -> &'a Stored {
        &self.manifest.stored
    }

    /// The bytes of a part that the manifest asks for.
    fn bytes(&self, suffix: &str) -> Result<&'a [u8], UnpackError> {
        let spec = self.specs.iter().find(|spec| spec.suffix == suffix);
        let spec = spec.expect("only parts of this kind of layer are asked for");
        find_part(self.manifest, spec, self.parts)
    }

    fn wrong(&self, suffix: &str) -> impl Fn(String) -> UnpackError {
        move |problem| wrong_part(self.manifest, suffix, problem)
    }

    fn mask(&self) -> Result<Option<Mask>, UnpackError> {
        let Some(sparsity) = self.stored().sparsity else {
            return Ok(None);
        };
        let suffix = sparsity.suffix();
        let bytes = self.bytes(suffix)?;
        sparse::unpack_mask(bytes, sparsity, self.manifest.columns)
            .map(Some)
            .map_err(self.wrong(suffix))
    }

    /// One for each weight; none where there are no codes.
    fn codes(&self, mask: Option<&Mask>) -> Result<Vec<u8>, UnpackError> {
        let Some(bits) = self.stored().code.bits() else {
            return Ok(Vec::new());
        };
        let bytes = self.bytes("codes")?;
        let columns = self.manifest.columns;
        let (Some(mask), Some(Sparsity { values, .. })) = (mask, self.stored().sparsity) else {
            return Ok(bits::unpack_rows(bytes, columns, bits));
        };
        let of_row = self.stored().values_of_row(columns).unwrap_or(values);
        let kept = bits::unpack_rows(bytes, of_row, bits);
        sparse::scatter(&kept, mask).map_err(self.wrong("codes"))
    }

    fn grid(&self, mask: Option<&Mask>) -> Result<Grid, UnpackError> {
        let (rows, columns) = (self.manifest.rows, self.manifest.columns);
        Ok(match self.stored().code {
            CodeKind::Affine {
                bits,
                group,
                symmetric,
                scale_dtype,
                fractional_zeros,
            } => {
                let config = GridConfig {
                    bits,
                    group,
                    symmetric,
                    scale_dtype,
                };
                let scales = floats::from_bytes(self.bytes("scales")?, scale_dtype);
                self.check("scales", &scales, |scale| scale > 0.0)?;
                Grid::Affine(AffineGrid {
                    config,
                    rows,
                    columns,
                    zeros: self.zeros(config, fractional_zeros)?,
                    scales,
                    fractional_zeros,
                })
            }
            CodeKind::Nf4 {
                block,
                double_quant,
            } => Grid::Codebook(BlockCodebook {
                rows,
                columns,
                block: if block == 0 { columns } else { block },
                scales: self.absmax(double_quant)?,
            }),
            CodeKind::Palette {
                bits,
                rows_per_palette,
                level_dtype,
            } => Grid::Palette(Palettes {
                rows,
                columns,
                bits,
                rows_per_palette,
                level_dtype,
                levels: self.levels(bits, level_dtype)?,
            }),
            CodeKind::Floats { dtype } => Grid::Floats(Floats {
                dtype,
                values: self.floats(dtype, mask)?,
            }),
            CodeKind::Nothing => Grid::Nothing,
        })
    }

    fn zeros(&self, config: GridConfig, fractional_zeros: bool) -> Result<Vec<f32>, UnpackError> {
        let groups = config.groups(self.manifest.columns).count();
        if fractional_zeros {
            let zeros = floats::from_bytes(self.bytes("zeros")?, config.scale_dtype);
            self.check("zeros", &zeros, |_| true)?;
            return Ok(zeros);
        }
        if config.symmetric {
            return Ok(vec![config.middle(); self.manifest.rows * groups]);
        }
        let codes = bits::unpack_rows(self.bytes("zeros")?, groups, config.bits);
        Ok(codes.into_iter().map(f32::from).collect())
    }

    fn absmax(&self, double_quant: bool) -> Result<BlockScales, UnpackError> {
        let floats = |suffix: &str| Ok(floats::from_bytes(self.bytes(suffix)?, ScaleDtype::F32));
        if !double_quant {
            let scales = floats("absmax")?;
            self.check("absmax", &scales, |scale| scale >= 0.0)?;
            return Ok(BlockScales::Plain(scales));
        }
        let (outer, offset) = (floats("absmax_scales")?, floats("absmax_offset")?);
        self.check("absmax_scales", &outer, |_| true)?;
        self.check("absmax_offset", &offset, |_| true)?;
        let inner = self.bytes("absmax_codes")?.iter();
        Ok(BlockScales::Double {
            inner: inner.map(|&byte| byte as i8).collect(),
            outer,
            offset: offset[0],
        })
    }

    fn levels(&self, bits: u8, dtype: ScaleDtype) -> Result<Vec<f32>, UnpackError> {
        let levels = floats::from_bytes(self.bytes("levels")?, dtype);
        self.check("levels", &levels, |_| true)?;
        match levels.chunks(1 << bits).all(|palette| palette.is_sorted()) {
            true => Ok(levels),
            false => Err(self.wrong("levels")(
                "has a palette that does not ascend".to_owned(),
            )),
        }
    }

    fn floats(&self, dtype: Dtype, mask: Option<&Mask>) -> Result<Vec<f32>, UnpackError> {
        let kept = floats::decode(self.bytes("values")?, dtype);
        match mask {
            None => Ok(kept),
            Some(mask) => sparse::scatter(&kept, mask).map_err(self.wrong("values")),
        }
    }

    fn factors(&self, kind: FactorKind) -> Result<LowRank, UnpackError> {
        let factor = |suffix: &str, rows, columns| {
            let values = floats::from_bytes(self.bytes(suffix)?, kind.dtype);
            self.check(suffix, &values, |_| true)?;
            Ok(Matrix::new(rows, columns, values))
        };
        Ok(LowRank {
            outer: factor("factor_outer", self.manifest.rows, kind.rank)?,
            inner: factor("factor_inner", kind.rank, self.manifest.columns)?,
            dtype: kind.dtype,
        })
    }

    fn check(
        &self,
        suffix: &str,
        values: &[f32],
        in_range: impl Fn(f32) -> bool,
    ) -> Result<(), UnpackError> {
        let is_wrong = |value: &&f32| !value.is_finite() || !in_range(**value);
        match values.iter().find(is_wrong) {
            Some(value) => Err(self.wrong(suffix)(format!("holds the value {value}"))),
            None => Ok(()),
        }
    }
}

pub(super) fn find_part<'a>(
    manifest: &LayerManifest,
    spec: &PartSpec,
    parts: &'a [Part],
) -> Result<&'a [u8], UnpackError> {
    let part = parts
        .iter()
        .find(|part| part.suffix == spec.suffix)
        .ok_or_else(|| UnpackError::MissingPart {
            layer: manifest.name.clone(),
            part: spec.suffix.to_owned(),
        })?;
    if part.dtype != spec.dtype || part.shape != spec.shape {
        let problem = format!(
            "is {} {:?}, but its manifest says {} {:?}",
            part.dtype, part.shape, spec.dtype, spec.shape
        );
        return Err(wrong_part(manifest, spec.suffix, problem));
    }
    if part.bytes.len() as u64 != spec.size_bytes {
        let problem = format!(
            "has {} bytes instead of {}",
            part.bytes.len(),
            spec.size_bytes
        );
        return Err(wrong_part(manifest, spec.suffix, problem));
    }
    Ok(&part.bytes)
}

fn parse_loss(manifest: &LayerManifest) -> Result<Option<f64>, UnpackError> {
    let loss = manifest
        .origin
        .as_ref()
        .and_then(|origin| origin.loss.as_ref());
    loss.map(|text| {
        text.parse()
            .map_err(|_| manifest.wrong(format!("its loss {text:?} is no number")))
    })
    .transpose()
}

pub(super) fn wrong_part(manifest: &LayerManifest, part: &str, problem: String) -> UnpackError {
    UnpackError::Part {
        layer: manifest.name.clone(),
        part: part.to_owned(),
        problem,
    }
}
