//! The kernels of this repository as a worker of the harness, and the rulers that say what the machine gives.
//!
//! The files of the kernels are compiled in as they are, without the engine around them.

#[allow(dead_code, unreachable_pub, unused_imports)] // what only other modules of the engine use
#[path = "../../../../../engine/src/kernels/mod.rs"]
mod kernels;

use kernels::integer::{
    ActivationBits, ActivationScale, Activations, PanelShape, Panels, multiply_float,
    multiply_integer,
};
use kernels::{Operand, Threads, gemm, rulers};
use pare_peers_shared::codes::{Span, round};
use pare_peers_shared::{Case, Failure, Request, Ring, in_pool, serve, threads};
use std::hint::black_box;

fn main() -> Result<(), Failure> {
    in_pool(|| serve(prepare).map_err(|failure| failure.to_string()))?.map_err(Into::into)
}

fn prepare(request: &Request) -> Result<Box<dyn Case>, Failure> {
    let integer = |bits, group, span, scale, width, when| {
        Integer::prepare(request, bits, group, span, scale, width, when)
    };
    use ActivationBits::{Eight, Seven};
    use ActivationScale::{PerBlock, PerToken};
    use Span::{Asymmetric, Symmetric};
    use When::{Before, Timed};
    match request.name.as_str() {
        "f32" => Float::prepare(request),
        // The activations are quantized before: the bare product.
        "w8" => integer(8, 0, Symmetric, PerToken, Eight, Before),
        "w8a7" => integer(8, 0, Symmetric, PerToken, Seven, Before),
        // From f32 to f32, as a layer runs.
        "w8+dynamic" => integer(8, 0, Symmetric, PerToken, Eight, Timed),
        "w8g32+dynamic" => integer(8, 32, Symmetric, PerBlock(32), Eight, Timed),
        "w4g32+dynamic" => integer(4, 32, Symmetric, PerBlock(32), Eight, Timed),
        "w4g32a+dynamic" => integer(4, 32, Asymmetric, PerBlock(32), Eight, Timed),
        "w4g128+dynamic" => integer(4, 128, Asymmetric, PerBlock(128), Eight, Timed),
        "w4g32+f32" => WeightOnly::prepare(request, 32, Symmetric),
        "w4g128+f32" => WeightOnly::prepare(request, 128, Asymmetric),
        "ruler-fma" => Ok(Box::new(MultiplyAdds)),
        "ruler-integer" => Ok(Box::new(IntegerMultiplyAdds)),
        "ruler-stream" => Ok(Box::new(Stream(vec![1; STREAM_BYTES / 8]))),
        name => Err(format!("no case {name}").into()),
    }
}

fn panels(
    request: &Request,
    bits: u8,
    group: usize,
    span: Span,
) -> Result<(PanelShape, Ring<Panels>), Failure> {
    let shape = PanelShape {
        rows: request.rows,
        columns: request.columns,
        bits,
        group,
    };
    let columns = if group == 0 { request.columns } else { group };
    let codes = round(&request.weights()?, columns, u32::from(bits), span);
    let panels = Ring::new(request.copies, || {
        Panels::pack(shape, &codes.codes, &codes.scales, &codes.zeros)
    });
    Ok((shape, panels))
}

/// When activations are quantized.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Before,
    Timed,
}

/// Codes times 8-bit activations.
struct Integer {
    shape: PanelShape,
    panels: Ring<Panels>,
    input: Vec<f32>,
    tokens: usize,
    scale: ActivationScale,
    width: ActivationBits,
    quantized: Option<Activations>,
    output: Vec<f32>,
}

impl Integer {
    fn prepare(
        request: &Request,
        bits: u8,
        group: usize,
        span: Span,
        scale: ActivationScale,
        width: ActivationBits,
        when: When,
    ) -> Result<Box<dyn Case>, Failure> {
        let (shape, panels) = panels(request, bits, group, span)?;
        let (input, tokens) = (request.input()?, request.tokens);
        let quantized = (when == When::Before)
            .then(|| Activations::quantize(&input, tokens, &shape, scale, width));
        Ok(Box::new(Self {
            shape,
            panels,
            input,
            tokens,
            scale,
            width,
            quantized,
            output: vec![0.0; tokens * request.rows],
        }))
    }
}

impl Case for Integer {
    fn run(&mut self) {
        let weights = self.panels.turn();
        if let Some(activations) = &self.quantized {
            multiply_integer(&mut self.output, activations, weights);
            return;
        }
        let activations = Activations::quantize(
            &self.input,
            self.tokens,
            &self.shape,
            self.scale,
            self.width,
        );
        multiply_integer(&mut self.output, &activations, weights);
    }

    fn weight_bytes(&self) -> usize {
        self.panels.first().size_bytes()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        self.output.clone()
    }
}

/// Codes times f32 activations.
struct WeightOnly {
    panels: Ring<Panels>,
    input: Vec<f32>,
    tokens: usize,
    output: Vec<f32>,
}

impl WeightOnly {
    fn prepare(request: &Request, group: usize, span: Span) -> Result<Box<dyn Case>, Failure> {
        Ok(Box::new(Self {
            panels: panels(request, 4, group, span)?.1,
            input: request.input()?,
            tokens: request.tokens,
            output: vec![0.0; request.tokens * request.rows],
        }))
    }
}

impl Case for WeightOnly {
    fn run(&mut self) {
        multiply_float(
            &mut self.output,
            &self.input,
            self.tokens,
            self.panels.turn(),
        );
    }

    fn weight_bytes(&self) -> usize {
        self.panels.first().size_bytes()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        self.output.clone()
    }
}

/// The f32 product of the solvers.
struct Float {
    weights: Ring<Vec<f32>>,
    input: Vec<f32>,
    shape: [usize; 3],
    output: Vec<f32>,
}

impl Float {
    fn prepare(request: &Request) -> Result<Box<dyn Case>, Failure> {
        let weights = request.weights()?;
        Ok(Box::new(Self {
            weights: Ring::new(request.copies, || weights.clone()),
            input: request.input()?,
            shape: [request.tokens, request.rows, request.columns],
            output: vec![0.0; request.tokens * request.rows],
        }))
    }
}

impl Case for Float {
    fn run(&mut self) {
        let [_, rows, columns] = self.shape;
        let input = Operand::new(&self.input, columns);
        let weights = Operand::transposed(self.weights.turn(), columns);
        gemm(
            &mut self.output,
            rows,
            self.shape,
            (input, weights),
            (1.0, 0.0),
            if threads() == 1 {
                Threads::One
            } else {
                Threads::Pool
            },
        );
    }

    fn weight_bytes(&self) -> usize {
        self.weights.first().len() * size_of::<f32>()
    }

    fn result(&mut self) -> Vec<f32> {
        self.run();
        self.output.clone()
    }
}

/// Rounds of the ruler of multiply-adds: some hundred microseconds.
const ROUNDS: u64 = 100_000;
/// Bytes that no cache here holds.
const STREAM_BYTES: usize = 256 << 20;

/// Multiply-adds in registers, on every thread.
struct MultiplyAdds;

impl Case for MultiplyAdds {
    fn run(&mut self) {
        rayon::broadcast(|_| black_box(rulers::multiply_adds(black_box(ROUNDS))));
    }

    /// Here: operations of one call.
    fn weight_bytes(&self) -> usize {
        rulers::multiply_adds(1).0 as usize * ROUNDS as usize * threads()
    }

    fn result(&mut self) -> Vec<f32> {
        Vec::new()
    }
}

/// Products of bytes summed in registers, on every thread.
struct IntegerMultiplyAdds;

impl Case for IntegerMultiplyAdds {
    fn run(&mut self) {
        rayon::broadcast(|_| black_box(rulers::integer_multiply_adds(black_box(ROUNDS))));
    }

    /// Here: operations of one call.
    fn weight_bytes(&self) -> usize {
        rulers::integer_multiply_adds(1).0 as usize * ROUNDS as usize * threads()
    }

    fn result(&mut self) -> Vec<f32> {
        Vec::new()
    }
}

/// Reads of memory, a slab for each thread.
struct Stream(Vec<u64>);

impl Case for Stream {
    fn run(&mut self) {
        let slab = self.0.len() / threads();
        rayon::broadcast(|thread| {
            black_box(rulers::read_all(&self.0[thread.index() * slab..][..slab]))
        });
    }

    fn weight_bytes(&self) -> usize {
        STREAM_BYTES
    }

    fn result(&mut self) -> Vec<f32> {
        Vec::new()
    }
}
