//! Crates whose products are timed: `crates THREADS candle|rten|gemm`, each in a process of its own.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use pare_peers_shared::codes::{Codes, Span, round};
use pare_peers_shared::{Case, Failure, Request, Ring, in_pool, serve, threads};
use rten_gemm::{
    BlockQuantizedGemm, BlockQuantizedMatrix, ComputeMode, GemmExecutor, GemmInputA, GemmInputB,
    GemmOptions, PackedBMatrix, QuantParams,
};
use rten_tensor::prelude::*;
use rten_tensor::{Contiguous, NdTensor};
use std::mem::MaybeUninit;

fn main() -> Result<(), Failure> {
    let library = std::env::args().nth(2).unwrap_or_default();
    let text = |failure: Failure| failure.to_string();
    match library.as_str() {
        // candle has pools of its own and is called from the main thread.
        "candle" => serve(candle),
        "rten" => in_pool(|| serve(rten).map_err(text))?.map_err(Into::into),
        "gemm" => in_pool(|| serve(strided).map_err(text))?.map_err(Into::into),
        _ => Err("crates THREADS candle|rten|gemm".into()),
    }
}

fn no_case(name: &str) -> Result<Box<dyn Case>, Failure> {
    Err(format!("no case {name}").into())
}

// candle ------------------------------------------------------------------------------------------------------------

fn candle(request: &Request) -> Result<Box<dyn Case>, Failure> {
    let device = Device::Cpu;
    let shape = (request.rows, request.columns);
    let weights = Tensor::from_vec(request.weights()?, shape, &device)?;
    let input = Tensor::from_vec(request.input()?, (request.tokens, request.columns), &device)?;
    let kind = match request.name.as_str() {
        "f32" => None,
        "q8_0" => Some(GgmlDType::Q8_0),
        "q4_0" => Some(GgmlDType::Q4_0),
        "q4_k" => Some(GgmlDType::Q4K),
        name => return no_case(name),
    };
    let mut weight_bytes = request.rows * request.columns * size_of::<f32>();
    let mut copies = Vec::new();
    for _ in 0..request.copies {
        copies.push(match kind {
            None => QMatMul::Tensor(weights.copy()?),
            Some(kind) => {
                let quantized = QTensor::quantize(&weights, kind)?;
                weight_bytes = quantized.storage_size_in_bytes();
                QMatMul::from_qtensor(quantized)?
            }
        });
    }
    let mut copies = copies.into_iter();
    let weights = Ring::new(request.copies, || {
        copies.next().expect("as many were made just now")
    });
    let output = weights.first().forward(&input)?;
    Ok(Box::new(Candle {
        weights,
        input,
        weight_bytes,
        output,
    }))
}

struct Candle {
    weights: Ring<QMatMul>,
    input: Tensor,
    weight_bytes: usize,
    output: Tensor,
}

impl Case for Candle {
    fn run(&mut self) {
        self.output = self
            .weights
            .turn()
            .forward(&self.input)
            .expect("the same product went well when it was prepared");
    }

    fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        let flat = self
            .output
            .flatten_all()
            .and_then(|values| values.to_vec1());
        flat.expect("the product is a matrix of f32")
    }
}

// rten --------------------------------------------------------------------------------------------------------------

fn rten(request: &Request) -> Result<Box<dyn Case>, Failure> {
    match request.name.as_str() {
        "f32" => Ok(Box::new(RtenFloat::new(request)?)),
        "u8s8" => Ok(Box::new(RtenBytes::new(request)?)),
        "w4g32" => Ok(Box::new(RtenBlocks::new(request, ComputeMode::Int8)?)),
        "w4g32+f32" => Ok(Box::new(RtenBlocks::new(request, ComputeMode::Float)?)),
        name => no_case(name),
    }
}

struct RtenFloat {
    executor: GemmExecutor<f32>,
    weights: Ring<PackedBMatrix<f32>>,
    input: NdTensor<f32, 2>,
    output: Vec<f32>,
}

impl RtenFloat {
    fn new(request: &Request) -> Result<Self, Failure> {
        let executor = GemmExecutor::<f32>::new();
        let weights = NdTensor::from_data([request.rows, request.columns], request.weights()?);
        Ok(Self {
            weights: Ring::new(request.copies, || {
                executor.prepack_b(weights.view().transposed())
            }),
            executor,
            input: NdTensor::from_data([request.tokens, request.columns], request.input()?),
            output: vec![0.0; request.tokens * request.rows],
        })
    }
}

impl Case for RtenFloat {
    fn run(&mut self) {
        let product = self.executor.gemm(
            &mut self.output,
            GemmInputA::Unpacked(self.input.view()),
            GemmInputB::Packed(self.weights.turn()),
            GemmOptions::default(),
        );
        product.expect("the shapes fit");
    }

    fn weight_bytes(&self) -> usize {
        self.input.size(1) * self.output.len() / self.input.size(0) * size_of::<f32>()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        self.output.clone()
    }
}

/// Unsigned activations with a zero at the middle, signed weights with a scale for each row; sums stay integers.
struct RtenBytes {
    executor: GemmExecutor<u8, i8, i32>,
    weights: Ring<PackedBMatrix<i8>>,
    scales: Vec<f32>,
    input: NdTensor<u8, 2>,
    zero: Vec<u8>,
    steps: Vec<f32>,
    output: Vec<i32>,
}

impl RtenBytes {
    fn new(request: &Request) -> Result<Self, Failure> {
        let executor = GemmExecutor::<u8, i8, i32>::new();
        // Where sums of pairs may saturate the crate asks for weights of seven bits.
        let bits = if executor.may_saturate() { 7 } else { 8 };
        let middle = 1 << (bits - 1);
        let rounded = round(&request.weights()?, request.columns, bits, Span::Symmetric);
        let signed = |code: &u8| (i16::from(*code) - middle) as i8;
        let weights = NdTensor::from_data(
            [request.rows, request.columns],
            rounded.codes.iter().map(signed).collect::<Vec<i8>>(),
        );
        let input = round(&request.input()?, request.columns, 8, Span::Symmetric);
        Ok(Self {
            weights: Ring::new(request.copies, || {
                executor.prepack_b(weights.view().transposed())
            }),
            executor,
            scales: rounded.scales,
            input: NdTensor::from_data([request.tokens, request.columns], input.codes),
            zero: vec![128; request.tokens],
            steps: input.scales,
            output: vec![0; request.tokens * request.rows],
        })
    }
}

impl Case for RtenBytes {
    fn run(&mut self) {
        let product = self.executor.gemm(
            &mut self.output,
            GemmInputA::Unpacked(self.input.view()),
            GemmInputB::Packed(self.weights.turn()),
            GemmOptions {
                a_quant: Some(QuantParams {
                    zero_point: &self.zero,
                }),
                ..GemmOptions::default()
            },
        );
        product.expect("the shapes fit");
    }

    fn weight_bytes(&self) -> usize {
        self.input.size(1) * self.scales.len()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        let rows = self.output.chunks(self.scales.len()).zip(&self.steps);
        rows.flat_map(|(sums, step)| {
            let scaled = sums.iter().zip(&self.scales);
            scaled.map(move |(&sum, scale)| sum as f32 * scale * step)
        })
        .collect()
    }
}

/// Four bits in blocks of 32 around the middle code, with f32 input that is quantized inside or not at all.
struct RtenBlocks {
    multiply: BlockQuantizedGemm,
    weights: Ring<(NdTensor<u8, 3>, NdTensor<f32, 2>)>,
    input: NdTensor<f32, 3>,
    output: Vec<MaybeUninit<f32>>,
}

impl RtenBlocks {
    fn new(request: &Request, mode: ComputeMode) -> Result<Self, Failure> {
        const BLOCK: usize = 32;
        let Codes { codes, scales, .. } = round(&request.weights()?, BLOCK, 4, Span::Symmetric);
        let packed: Vec<u8> = codes.chunks(2).map(|pair| pair[0] | pair[1] << 4).collect();
        let blocks = request.columns / BLOCK;
        let (rows, columns) = (request.rows, request.columns);
        Ok(Self {
            multiply: BlockQuantizedGemm::new().with_compute(mode),
            weights: Ring::new(request.copies, || {
                (
                    NdTensor::from_data([rows, blocks, BLOCK / 2], packed.clone()),
                    NdTensor::from_data([rows, blocks], scales.clone()),
                )
            }),
            input: NdTensor::from_data([1, request.tokens, columns], request.input()?),
            output: vec![MaybeUninit::uninit(); request.tokens * rows],
        })
    }

    fn multiply(&mut self) -> &[f32] {
        let (codes, scales) = self.weights.turn();
        let matrix = BlockQuantizedMatrix::new(
            Contiguous::new(codes.view()).expect("made in order"),
            Contiguous::new(scales.view()).expect("made in order"),
            4,
        )
        .expect("blocks of 32 are allowed");
        self.multiply
            .batched_gemm_uninit(&mut self.output, self.input.view(), matrix)
            .expect("the shapes fit")
    }
}

impl Case for RtenBlocks {
    fn run(&mut self) {
        self.multiply();
    }

    fn weight_bytes(&self) -> usize {
        let (codes, scales) = self.weights.first();
        codes.len() + scales.len() * size_of::<f32>()
    }

    fn result(&mut self) -> Vec<f32> {
        self.multiply().to_vec()
    }
}

// gemm --------------------------------------------------------------------------------------------------------------

fn strided(request: &Request) -> Result<Box<dyn Case>, Failure> {
    if request.name != "f32" {
        return no_case(&request.name);
    }
    let weights = request.weights()?;
    Ok(Box::new(Strided {
        weights: Ring::new(request.copies, || weights.clone()),
        input: request.input()?,
        tokens: request.tokens,
        rows: request.rows,
        columns: request.columns,
        output: vec![0.0; request.tokens * request.rows],
    }))
}

struct Strided {
    weights: Ring<Vec<f32>>,
    input: Vec<f32>,
    tokens: usize,
    rows: usize,
    columns: usize,
    output: Vec<f32>,
}

impl Case for Strided {
    fn run(&mut self) {
        let columns = self.columns as isize;
        let parallelism = match threads() {
            1 => gemm::Parallelism::None,
            threads => gemm::Parallelism::Rayon(threads),
        };
        // SAFETY: the three slices hold their shapes; strides are those of row-major matrices.
        unsafe {
            gemm::gemm(
                self.tokens,
                self.rows,
                self.columns,
                self.output.as_mut_ptr(),
                1,
                self.rows as isize,
                false,
                self.input.as_ptr(),
                1,
                columns,
                self.weights.turn().as_ptr(),
                columns,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    }

    fn weight_bytes(&self) -> usize {
        self.weights.first().len() * size_of::<f32>()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        self.output.clone()
    }
}
