//! Criterion's view of the loops that decide how long a layer takes: small enough to repeat, large enough to be typical.
//! `pare bench solvers` measures whole layers beside the machine's own bounds.

use criterion::{Criterion, criterion_group, criterion_main};
use pare_engine::grid::{GridConfig, ScaleDtype};
use pare_engine::kernels::{Operand, Threads, gemm, syrk_f32};
use pare_engine::linalg::flipped_cholesky;
use pare_engine::moments::Moments;
use pare_engine::monitor::Unwatched;
use pare_engine::rng::Rng;
use pare_engine::settings::ColumnOrder;
use pare_engine::solve::gptq::{DEFAULT_BLOCK, Factors, Prepared};
use pare_engine::solve::{GptqConfig, RtnConfig, rtn};
use pare_engine::tensor::{Matrix, Symmetric};
use std::hint::black_box;

const WIDTH: usize = 1024;

fn normals(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(0, 0);
    (0..count).map(|_| rng.normal() as f32).collect()
}

/// Moments of inputs whose neighbours are alike.
fn moments() -> Moments {
    let value = |row: usize, column: usize| (-((column - row) as f32) / 40.0).exp();
    let upper = (0..WIDTH).flat_map(|row| (row..WIDTH).map(move |column| value(row, column)));
    Moments {
        count: WIDTH as u64,
        gram: Symmetric::new(WIDTH, upper.collect()),
        mean_square: vec![1.0; WIDTH],
        mean_abs: vec![0.8; WIDTH],
        abs_max: vec![4.0; WIDTH],
    }
}

fn products(criterion: &mut Criterion) {
    let inputs = normals(WIDTH * WIDTH);
    let mut gram = vec![0.0; WIDTH * WIDTH];
    let turned = Operand::transposed(&inputs, WIDTH);
    let plain = Operand::new(&inputs, WIDTH);
    criterion.bench_function("gram 1024 x 1024, full product", |bencher| {
        let shape = [WIDTH; 3];
        bencher.iter(|| {
            gemm(
                &mut gram,
                WIDTH,
                shape,
                (turned, plain),
                (1.0, 0.0),
                Threads::Pool,
            )
        });
    });
    criterion.bench_function("gram 1024 x 1024, upper triangle", |bencher| {
        bencher.iter(|| syrk_f32(&mut gram, &inputs, WIDTH, WIDTH));
    });
}

fn solvers(criterion: &mut Criterion) {
    let moments = moments();
    let full = moments.gram.to_matrix().into_data();
    criterion.bench_function("factor 1024, f32", |bencher| {
        bencher.iter_batched_ref(
            || full.clone(),
            |matrix| black_box(flipped_cholesky(matrix, WIDTH, &Unwatched)),
            criterion::BatchSize::LargeInput,
        );
    });
    let weights = Matrix::new(WIDTH, WIDTH, normals(WIDTH * WIDTH));
    let grid = GridConfig {
        bits: 4,
        group: 128,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
    };
    let config = GptqConfig {
        grid,
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        block: DEFAULT_BLOCK,
    };
    let prepared = Prepared::new(&moments, &config, &Factors::default(), &Unwatched)
        .expect("the matrix is positive");
    criterion.bench_function("gptq sweep 1024 x 1024, 4 bits group 128", |bencher| {
        bencher.iter(|| black_box(prepared.solve(&weights, &config, &Unwatched)));
    });
    let config = RtnConfig {
        grid,
        clip_search: 20,
    };
    criterion.bench_function("rtn 1024 x 1024, 4 bits group 128", |bencher| {
        bencher.iter(|| {
            black_box(rtn(
                &weights,
                Some(&moments.mean_square),
                &config,
                &Unwatched,
            ))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = products, solvers
}
criterion_main!(benches);
