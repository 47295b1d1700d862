//! The cases: which kernel on which shape, and the memory it works in.

use super::packed::{Codes, Packed, Zeros};
use super::{KernelBench, KernelRulers};
use crate::kernels::integer::{
    ActivationBits, ActivationScale, Activations, PanelShape, multiply_float, reference,
};
use crate::kernels::{Operand, Threads, gemm, syrk_f32};
use crate::rng::Rng;

/// What a case is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Multiply-adds of floats in registers.
    Fma,
    /// Multiply-adds of bytes in registers.
    Integer,
    /// Reads from memory.
    Stream,
}

impl Bound {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fma => "fma",
            Self::Integer => "integer",
            Self::Stream => "stream",
        }
    }

    /// What the ruler reads with all threads: 10^9 multiply-adds or bytes per second.
    pub(super) fn of(self, rulers: &KernelRulers) -> f64 {
        match self {
            Self::Fma => rulers.fma_gflops / 2.0,
            Self::Integer => rulers.integer_gmacs,
            Self::Stream => rulers.stream_read_gbps,
        }
    }
}

/// One kernel on one shape.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// Outputs, inputs, tokens.
    shape: [usize; 3],
    kind: Kind,
    pub(super) bound: Bound,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Bits of weights, columns of a group, bits of activations.
    Integer(u8, usize, ActivationBits, Zeros),
    /// Bits of weights, columns of a group; activations stay f32.
    Float(u8, usize),
    Gemm,
    Syrk,
}

const fn integer(name: &'static str, shape: [usize; 3], bits: u8, group: usize) -> Case {
    Case {
        name,
        shape,
        kind: Kind::Integer(bits, group, ActivationBits::Eight, Zeros::None),
        bound: if shape[2] == 1 {
            Bound::Stream
        } else {
            Bound::Integer
        },
    }
}

const fn seven(case: Case) -> Case {
    Case {
        kind: Kind::Integer(8, 0, ActivationBits::Seven, Zeros::None),
        ..case
    }
}

const fn with(zeros: Zeros, name: &'static str, shape: [usize; 3], bits: u8, group: usize) -> Case {
    Case {
        kind: Kind::Integer(bits, group, ActivationBits::Eight, zeros),
        ..integer(name, shape, bits, group)
    }
}

const fn blocks(kept: u64, name: &'static str, tokens: usize) -> Case {
    with(Zeros::Blocks(kept), name, [4096, 4096, tokens], 8, 0)
}

/// Weights of a decoder's middle layer, larger than any cache together with their copies.
const DECODE: [usize; 3] = [4096, 4096, 1];

pub(super) const CASES: [Case; 27] = [
    integer("int8-gemm", [1024; 3], 8, 0),
    integer("int8-gemm-512", [512; 3], 8, 0),
    seven(integer("int8-gemm-a7", [1024; 3], 8, 0)),
    seven(integer("int8-gemm-a7-512", [512; 3], 8, 0)),
    integer("int8-gemv", DECODE, 8, 0),
    integer("int4-gemm", [1024, 4096, 512], 4, 128),
    Case {
        bound: Bound::Integer,
        ..integer("int4-gemv-resident", [256, 4096, 1], 4, 128)
    },
    integer("int4-gemv", DECODE, 4, 128),
    integer("int2-gemv", DECODE, 2, 128),
    integer("int3-gemv", DECODE, 3, 128),
    integer("int5-gemv", DECODE, 5, 128),
    integer("int6-gemv", DECODE, 6, 128),
    with(Zeros::TwoOfFour, "int8-2:4-gemm", [1024; 3], 8, 0),
    with(Zeros::TwoOfFour, "int8-2:4-gemm-64", [4096, 4096, 64], 8, 0),
    with(Zeros::TwoOfFour, "int8-2:4-gemv", DECODE, 8, 0),
    with(Zeros::TwoOfFour, "int4-2:4-gemm", [1024, 4096, 512], 4, 128),
    with(Zeros::TwoOfFour, "int4-2:4-gemv", DECODE, 4, 128),
    blocks(50, "int8-1x4-50-gemm", 64),
    blocks(20, "int8-1x4-80-gemm", 64),
    blocks(10, "int8-1x4-90-gemm", 64),
    blocks(50, "int8-1x4-50-gemv", 1),
    blocks(20, "int8-1x4-80-gemv", 1),
    blocks(10, "int8-1x4-90-gemv", 1),
    Case {
        name: "w4a16-gemv",
        shape: DECODE,
        kind: Kind::Float(4, 128),
        bound: Bound::Stream,
    },
    Case {
        name: "w4a16-gemm",
        shape: [1024, 1024, 512],
        kind: Kind::Float(4, 128),
        bound: Bound::Fma,
    },
    Case {
        name: "f32-gemm",
        shape: [1024; 3],
        kind: Kind::Gemm,
        bound: Bound::Fma,
    },
    Case {
        name: "f32-syrk",
        shape: [1024; 3],
        kind: Kind::Syrk,
        bound: Bound::Fma,
    },
];

impl Case {
    /// The same without zeros, where it has some.
    pub(super) fn dense(&self) -> Option<Self> {
        match self.kind {
            Kind::Integer(.., Zeros::None) => None,
            Kind::Integer(bits, group, activations, _) => Some(Self {
                kind: Kind::Integer(bits, group, activations, Zeros::None),
                ..*self
            }),
            Kind::Float(..) | Kind::Gemm | Kind::Syrk => None,
        }
    }
}

/// What a case amounts to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) tokens: usize,
    pub(super) macs: f64,
    pub(super) weight_bytes: f64,
}

/// A case with its memory.
pub(super) struct Work {
    kind: Kind,
    bound: Bound,
    shape: [usize; 3],
    /// Codes, scales and zeros of the first of `weights`.
    codes: Codes,
    /// Copies that take turns, so that each comes from memory; one where the bound is arithmetic.
    weights: Vec<Packed>,
    turn: usize,
    activations: Option<Activations>,
    input: Vec<f32>,
    dense: Vec<f32>,
    output: Vec<f32>,
}

/// Bytes that copies of the weights take together.
const COLD_BYTES: usize = 160 << 20;

impl Work {
    pub(super) fn new(case: &Case, bench: &KernelBench) -> Self {
        let [rows, columns, tokens] = case.shape;
        let shape = [
            bench.rows.unwrap_or(rows),
            bench.columns.unwrap_or(columns),
            bench.tokens.unwrap_or(tokens),
        ];
        let [rows, columns, tokens] = shape;
        let mut rng = Rng::new(0, 0);
        let normals: Vec<f32> = (0..99_991).map(|_| rng.normal() as f32).collect();
        let repeated =
            |len: usize| -> Vec<f32> { normals.iter().copied().cycle().take(len).collect() };
        let input = repeated(tokens * columns);
        let mut work = Self {
            kind: case.kind,
            bound: case.bound,
            shape,
            codes: Codes::default(),
            weights: Vec::new(),
            turn: 0,
            activations: None,
            input,
            dense: Vec::new(),
            output: vec![0.0; rows * tokens],
        };
        match case.kind {
            Kind::Integer(bits, group, activation_bits, zeros) => {
                let panels = work.pack(bits, group, zeros);
                work.activations = Some(Activations::quantize(
                    &work.input,
                    tokens,
                    &panels,
                    ActivationScale::PerToken,
                    activation_bits,
                ));
            }
            Kind::Float(bits, group) => {
                work.pack(bits, group, Zeros::None);
            }
            Kind::Gemm => work.dense = repeated(rows * columns),
            Kind::Syrk => work.output = vec![0.0; columns * columns],
        }
        work
    }

    fn pack(&mut self, bits: u8, group: usize, zeros: Zeros) -> PanelShape {
        let [rows, columns, _] = self.shape;
        let shape = PanelShape {
            rows,
            columns,
            bits,
            group,
        };
        self.codes = Codes::random(shape, zeros);
        let panels = self.codes.pack(shape, zeros);
        let copies = match self.bound {
            Bound::Stream => COLD_BYTES.div_ceil(panels.size_bytes().max(1 << 20)),
            Bound::Fma | Bound::Integer => 1,
        };
        self.weights = vec![panels; copies];
        shape
    }

    pub(super) fn bound(&self) -> Bound {
        self.bound
    }

    pub(super) fn size(&self) -> Size {
        let [rows, columns, tokens] = self.shape;
        let (rows, macs) = match self.kind {
            Kind::Syrk => (columns, (columns * columns * tokens) as f64 / 2.0),
            _ => (rows, (rows * columns * tokens) as f64),
        };
        let packed = self.weights.first().map(Packed::size_bytes);
        Size {
            rows,
            columns,
            tokens,
            macs,
            weight_bytes: packed.unwrap_or(4 * self.dense.len()) as f64,
        }
    }

    /// Once, on the next copy of the weights.
    pub(super) fn run(&mut self) {
        let [rows, columns, tokens] = self.shape;
        if !self.weights.is_empty() {
            self.turn = (self.turn + 1) % self.weights.len();
        }
        match self.kind {
            Kind::Integer(..) => {
                let activations = self
                    .activations
                    .as_ref()
                    .expect("made with the weights of an integer case");
                self.weights[self.turn].multiply(&mut self.output, activations);
            }
            Kind::Float(..) => {
                let Packed::Dense(weights) = &self.weights[self.turn] else {
                    unreachable!("cases of floats have no zeros");
                };
                multiply_float(&mut self.output, &self.input, tokens, weights);
            }
            Kind::Gemm => {
                let operands = (
                    Operand::new(&self.input, columns),
                    Operand::transposed(&self.dense, columns),
                );
                let shape = [tokens, rows, columns];
                let output = &mut self.output;
                gemm(output, rows, shape, operands, (1.0, 0.0), Threads::Pool);
            }
            Kind::Syrk => syrk_f32(&mut self.output, &self.input, tokens, columns),
        }
    }

    /// Whether some rows and tokens, first, last and between, equal the slow twin to the last bit.
    pub(super) fn exact(&mut self) -> Option<bool> {
        let [rows, columns, tokens] = self.shape;
        let (bits, group) = match self.kind {
            Kind::Integer(bits, group, ..) => (bits, group),
            Kind::Float(bits, group) if tokens <= 8 => (bits, group),
            _ => return None,
        };
        self.run();
        let shape = PanelShape {
            rows: 1,
            columns,
            bits,
            group,
        };
        let some = |count: usize| [0, count / 3, count / 2, count.saturating_sub(1)];
        let equal = some(tokens).into_iter().all(|token| {
            some(rows).into_iter().all(|row| {
                let codes = self.codes.row(shape, row);
                let weights = reference::Codes {
                    shape,
                    codes: &codes.codes,
                    scales: &codes.scales,
                    zeros: &codes.zeros,
                };
                let input = &self.input[token * columns..(token + 1) * columns];
                let (mut expected, scale) = ([0.0f32], ActivationScale::PerToken);
                let out = &mut expected;
                match self.kind {
                    Kind::Integer(_, _, bits, Zeros::None) => {
                        reference::multiply_integer(out, input, 1, scale, bits, weights);
                    }
                    Kind::Integer(_, _, bits, _) => {
                        let weights = codes.masked(shape);
                        reference::multiply_masked(out, input, 1, scale, bits, &weights);
                    }
                    _ => reference::multiply_float(out, input, 1, weights),
                }
                expected[0].to_bits() == self.output[token * rows + row].to_bits()
            })
        });
        Some(equal)
    }
}
