//! Choosing bits from end to end on a tiny model: what is kept, what is resumed, what budgets promise.

#![allow(clippy::unwrap_used)]

use pare_engine::allocate::Rules;
use pare_engine::formats::Format;
use pare_engine::monitor::Monitor;
use pare_engine::report::{Notice, Observer, SensitivityTable};
use pare_engine::session::{
    AllocateReport, AllocateRequest, Budget, Candidate, Effort, RunShape, SensitivityRequest,
    Session, SessionError, Slice, Verification,
};
use pare_engine::settings::{Activations, KvCache, LayerOption};
use pare_engine::solved::Method;
use pare_tests::sessions::{Quiet, Stopper, Workshop};
use std::path::Path;
use std::sync::Mutex;

fn request(workshop: &Workshop) -> SensitivityRequest {
    let options = ["2/32", "3/32", "4/64", "4/32", "6/32", "8/32"];
    SensitivityRequest {
        recipe: workshop.recipe(Method::Gptq, 4, 32),
        format: Format::Pare,
        options: options.map(|word| word.parse().unwrap()).to_vec(),
        ends: false,
        effort: Effort {
            own_method: true,
            probes: ["2/32", "4/32"].map(|word| word.parse().unwrap()).to_vec(),
            gradient: true,
            anchors: vec!["4/32".parse().unwrap()],
        },
        slice: Slice {
            corpus: None,
            sequences: 4,
            length: 24,
        },
    }
}

fn open(workshop: &Workshop, threads: usize) -> Session {
    Session::open(&workshop.model(), workshop.options(threads)).unwrap()
}

fn table(workshop: &Workshop, threads: usize) -> SensitivityTable {
    let report = open(workshop, threads).sensitivity(&request(workshop), &Quiet::default());
    report.unwrap().table
}

#[test]
fn a_table_is_whole_kept_and_the_same_on_any_threads() {
    let workshop = Workshop::new();
    let session = open(&workshop, 1);
    let request = request(&workshop);
    assert_eq!(
        session
            .find_sensitivity(&request, &Quiet::default())
            .unwrap(),
        None
    );
    let first = session.sensitivity(&request, &Quiet::default()).unwrap();
    assert_eq!(first.reused, 0);
    assert_eq!(first.table.missing(), 0);
    assert_eq!(
        first.table.layers.len(),
        14,
        "seven layers in each of two blocks"
    );
    assert_eq!(first.table.options.last(), Some(&LayerOption::Dense));
    for layer in &first.table.layers {
        assert_eq!(layer.probes.len(), 2, "{}", layer.name);
        let errors = layer.errors.iter().flatten();
        assert!(
            errors.clone().all(|error| error.gradient_loss.is_some()),
            "{}",
            layer.name
        );
        let dense = layer.errors.last().unwrap().unwrap();
        assert_eq!((dense.output_error, dense.method), (0.0, Method::None));
    }
    let again = session.sensitivity(&request, &Quiet::default()).unwrap();
    assert_eq!(again.reused, 14 * 6);
    assert_eq!(again.table, first.table);
    let found = session
        .find_sensitivity(&request, &Quiet::default())
        .unwrap();
    assert_eq!(found, Some(first.table.clone()));
    let other = Workshop::new();
    assert_eq!(table(&other, 2), first.table, "two threads");
}

#[test]
fn a_stopped_table_goes_on_to_the_same_end() {
    let expected = table(&Workshop::new(), 2);
    let workshop = Workshop::new();
    let session = open(&workshop, 2);
    let mut resumed = 0;
    for polls in [60, 300, 900] {
        match session.sensitivity(&request(&workshop), &Stopper::new(polls)) {
            Err(error) => assert!(error.is_stopped(), "{error}"),
            Ok(report) => resumed = resumed.max(report.reused),
        }
    }
    let last = session
        .sensitivity(&request(&workshop), &Quiet::default())
        .unwrap();
    resumed = resumed.max(last.reused);
    assert!(resumed > 0, "nothing was kept of three tries");
    assert_eq!(last.table, expected);
}

#[test]
fn a_draft_with_other_bits_finds_the_same_table() {
    let workshop = Workshop::new();
    let session = open(&workshop, 2);
    let mut asked = request(&workshop);
    asked.effort.anchors.clear();
    session.sensitivity(&asked, &Quiet::default()).unwrap();
    asked.recipe.default.bits = 3;
    asked.recipe.default.group = 64;
    let found = session.find_sensitivity(&asked, &Quiet::default()).unwrap();
    assert_eq!(found.unwrap().missing(), 0);
    asked.recipe.default.symmetric = true;
    let found = session.find_sensitivity(&asked, &Quiet::default()).unwrap();
    assert_eq!(found, None, "another grid has other errors");
}

fn allocate(
    workshop: &Workshop,
    budget: Budget,
    rules: Rules,
) -> Result<AllocateReport, SessionError> {
    let request = AllocateRequest {
        sensitivity: request(workshop),
        target: None,
        budget,
        rules,
        verify: Some(Verification {
            corpus: None,
            windows: None,
            length: None,
        }),
    };
    open(workshop, 2).allocate(&request, &Quiet::default())
}

#[test]
fn files_never_exceed_a_budget_by_a_byte_and_the_best_is_returned() {
    let workshop = Workshop::new();
    let dense = allocate(&workshop, Budget::Bytes(u64::MAX), Rules::default()).unwrap();
    let most = dense.candidates[0].bytes;
    let least = dense.front[0].bytes;
    for bytes in [
        least + 40,
        least + (most - least) / 5,
        least + (most - least) / 2,
    ] {
        let report = allocate(&workshop, Budget::Bytes(bytes), Rules::default()).unwrap();
        for candidate in &report.candidates {
            assert!(candidate.bytes <= bytes, "{candidate:?} within {bytes}");
        }
        let measured = |found: &pare_engine::session::CandidateReport| found.measured.unwrap().0;
        let best = report
            .candidates
            .iter()
            .find(|found| found.candidate == report.best)
            .unwrap();
        let least = report
            .candidates
            .iter()
            .map(measured)
            .fold(f64::INFINITY, f64::min);
        assert_eq!(measured(best), least);
        assert_eq!(
            report.warnings.is_empty(),
            report.best == Candidate::Allocated
        );
        let written = workshop.request(report.recipe, &format!("out-{bytes}"), Format::Pare);
        let written = open(&workshop, 2)
            .compress(&written, &Quiet::default())
            .unwrap();
        assert_eq!(written.bytes_after, best.bytes);
        assert_eq!(
            files_bytes(&workshop.path(&format!("out-{bytes}"))),
            best.bytes
        );
    }
}

#[test]
fn bits_for_each_weight_are_those_of_judged_layers() {
    let workshop = Workshop::new();
    for bits in [2.75, 3.5, 5.1] {
        let report = allocate(&workshop, Budget::BitsPerWeight(bits), Rules::default()).unwrap();
        let found = report.candidates[0];
        assert!(found.bits_per_weight <= bits, "{found:?} within {bits}");
        assert!(found.bits_per_weight > bits - 0.2, "{found:?} near {bits}");
        let again = allocate(&workshop, Budget::BitsPerWeight(bits), Rules::default()).unwrap();
        assert_eq!(again.recipe, report.recipe);
    }
}

#[test]
fn rules_are_kept_and_what_cannot_be_is_said() {
    let workshop = Workshop::new();
    let rules = Rules {
        locks: vec!["*.down_proj".to_owned()],
        fused: true,
        ..Rules::default()
    };
    let report = allocate(&workshop, Budget::BitsPerWeight(4.0), rules).unwrap();
    let session = open(&workshop, 1);
    let resolved = report.recipe.resolve(session.layers());
    let mut fused = std::collections::BTreeMap::new();
    for (layer, decision) in session.layers().iter().zip(resolved.decisions) {
        if layer.name.ends_with("down_proj") {
            assert_eq!(
                (decision.settings.bits, decision.settings.group),
                (4, 32),
                "{}",
                layer.name
            );
        }
        if let Some(peers) = layer.fused_peers {
            let option = LayerOption::of(&decision.settings);
            assert_eq!(
                *fused.entry(peers).or_insert(option),
                option,
                "{}",
                layer.name
            );
        }
    }
    let error = allocate(&workshop, Budget::Bytes(1000), Rules::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("too little") && error.contains("smallest"),
        "{error}"
    );
    let error = allocate(&workshop, Budget::BitsPerWeight(-1.0), Rules::default()).unwrap_err();
    assert!(error.to_string().contains("no budget"), "{error}");
}

#[test]
fn what_a_container_leaves_dense_eats_no_budget() {
    let workshop = Workshop::new();
    let mut sensitivity = request(&workshop);
    sensitivity.format = Format::Gptq;
    sensitivity.ends = true;
    sensitivity.effort = Effort::quick();
    let request = AllocateRequest {
        sensitivity,
        target: None,
        budget: Budget::BitsPerWeight(5.0),
        rules: Rules::default(),
        verify: None,
    };
    let session = open(&workshop, 2);
    let report = session.allocate(&request, &Quiet::default()).unwrap();
    let found = report.candidates[0];
    assert!(found.bits_per_weight <= 5.0, "{found:?}");
    assert!(found.bits_per_weight > 4.5, "{found:?}");
}

/// Bytes of all files outside `.pare`.
fn files_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name() != ".pare");
    files.map(|file| file.metadata().unwrap().len()).sum()
}

/// Keeps the warnings that it hears.
#[derive(Debug, Default)]
struct Warned(Mutex<Vec<String>>);

impl Monitor for Warned {
    fn step(&self, _done: u64, _total: u64) {}

    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for Warned {
    fn notice(&self, notice: Notice<'_>) {
        if let Notice::Warning(text) = notice {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }
}

#[test]
fn whole_models_are_measured_as_the_recipe_rounds_their_inputs() {
    let workshop = Workshop::new();
    let session = open(&workshop, 2);
    let judge = |activations, kv_cache, anchored: bool| {
        let mut request = request(&workshop);
        request.recipe.default.method = Method::Rtn;
        request.recipe.default.activations = activations;
        request.recipe.kv_cache = kv_cache;
        request.options = vec!["8/32".parse().unwrap()];
        request.effort.probes = Vec::new();
        request.effort.anchors = request.options.clone();
        if !anchored {
            request.effort.anchors.clear();
        }
        let warned = Warned::default();
        let report = session.sensitivity(&request, &warned).unwrap();
        (report.table, warned.0.into_inner().unwrap())
    };
    let (floats, told) = judge(Activations::None, KvCache::F32, true);
    assert!(!told.concat().contains("weights alone"), "{told:?}");
    let (rounded, told) = judge(Activations::Dynamic8, KvCache::F32, true);
    assert_eq!(rounded.layers, floats.layers, "layers alone are weights");
    let loss = |table: &SensitivityTable| table.anchors[0].loss;
    assert!(loss(&rounded) > loss(&floats));
    assert!(
        told.concat().contains("only the whole models"),
        "expected what counts in {told:?}"
    );
    let (narrow, told) = judge(Activations::Dynamic8, KvCache::Int8, true);
    assert!(loss(&narrow) != loss(&rounded), "{}", loss(&narrow));
    assert!(told.concat().contains("kv_cache int8"), "{told:?}");
    let (_, told) = judge(Activations::Dynamic8, KvCache::F32, false);
    assert!(told.concat().contains("leave that out"), "{told:?}");
}

/// Judges these options by the recipe's own method.
fn judging(workshop: &Workshop, options: &[&str]) -> SensitivityRequest {
    let options = options.iter().map(|word| word.parse().unwrap());
    let mut request = request(workshop);
    request.options = options.collect();
    request.effort.probes.clear();
    request.effort.anchors.clear();
    request
}

#[test]
fn zeros_and_factors_are_judged_beside_bits() {
    let workshop = Workshop::new();
    let words = [
        "4/32",
        "4/32@2:4",
        "float@25%",
        "float@50%",
        "float@1x4:50%",
        "rank50%",
        "rank25%",
    ];
    let request = judging(&workshop, &words);
    let report = open(&workshop, 2)
        .sensitivity(&request, &Quiet::default())
        .unwrap();
    let table = &report.table;
    assert_eq!(table.missing(), 0);
    let cell = |layer: usize, word: &str| {
        let option: LayerOption = word.parse().unwrap();
        let place = table.options.iter().position(|known| *known == option);
        table.layers[layer].errors[place.unwrap()].unwrap()
    };
    // Greedy choices need not be ordered in each layer.
    let sum = |word: &str| {
        let layers = 0..table.layers.len();
        layers
            .map(|layer| cell(layer, word).output_error)
            .sum::<f64>()
    };
    for (less, more) in [
        ("4/32", "4/32@2:4"),
        ("float@25%", "float@50%"),
        ("rank50%", "rank25%"),
    ] {
        assert!(sum(less) < sum(more), "{less} {more}");
    }
    for (layer, row) in table.layers.iter().enumerate() {
        for word in words {
            let error = cell(layer, word);
            assert!(error.gradient_loss.unwrap() > 0.0, "{} {word}", row.name);
        }
        assert!(cell(layer, "4/32@2:4").bytes < cell(layer, "4/32").bytes);
        assert!(cell(layer, "rank25%").bytes < cell(layer, "rank50%").bytes);
    }
    let again = open(&workshop, 1).sensitivity(&request, &Quiet::default());
    let again = again.unwrap();
    assert_eq!(again.reused, 14 * words.len());
    assert_eq!(again.table, *table);
}

#[test]
fn zeros_stand_on_the_front_where_they_are_offered() {
    let workshop = Workshop::new();
    let options = ["float@50%", "float@2:4", "8/32@2:4"];
    let mut rules = Rules::default();
    let pruned: Vec<LayerOption> = options.map(|word| word.parse().unwrap()).to_vec();
    rules.allowed.push(("*".to_owned(), pruned.clone()));
    let request = AllocateRequest {
        sensitivity: judging(&workshop, &options),
        target: None,
        budget: Budget::BitsPerWeight(14.0),
        rules,
        verify: Some(Verification {
            corpus: None,
            windows: None,
            length: None,
        }),
    };
    let session = open(&workshop, 2);
    let report = session.allocate(&request, &Quiet::default()).unwrap();
    assert!(report.front.len() > 1, "{:?}", report.front);
    let decisions = report.recipe.resolve(session.layers()).decisions;
    let judged = session.layers().iter().zip(&decisions);
    let judged = judged.filter(|(info, _)| info.compressible && info.block.is_some());
    let mut met = Vec::new();
    for (info, decision) in judged {
        let option = LayerOption::of(&decision.settings);
        assert!(
            option.is_some_and(|option| pruned.contains(&option)),
            "{}: {option:?}",
            info.name
        );
        met.extend(option.filter(|option| !met.contains(option)));
    }
    assert!(met.len() > 1, "options are mixed: {met:?}");
    let best = &report.candidates[0];
    assert!(best.bits_per_weight <= 14.0, "{best:?}");
    assert!(best.measured.unwrap().0 > 0.0, "{best:?}");
    let run = workshop.request(report.recipe.clone(), "pruned", Format::Pare);
    let written = session.compress(&run, &Quiet::default()).unwrap();
    let best = report
        .candidates
        .iter()
        .find(|found| found.candidate == report.best);
    assert_eq!(best.unwrap().bytes, written.bytes_after);
}

#[test]
fn what_a_layer_costs_is_not_asked_of_layers_that_go() {
    let workshop = Workshop::new();
    let mut request = request(&workshop);
    request.recipe.structure.neurons = 0.25;
    let session = open(&workshop, 1);
    let refused = session.sensitivity(&request, &Quiet::default());
    let error = refused.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("[structure]"), "{error}");
    let found = session.find_sensitivity(&request, &Quiet::default());
    assert_eq!(found.unwrap(), None);
}

#[test]
fn an_estimate_of_a_smaller_network_is_of_that_network() {
    let workshop = Workshop::new();
    let session = open(&workshop, 1);
    let mut recipe = workshop.recipe(Method::Rtn, 4, 32);
    recipe.structure.neurons = 0.25;
    let run = RunShape::default();
    let planned = session.estimate_input(Some(&recipe), Format::Pare, run);
    let planned = planned.unwrap();
    let request = workshop.request(recipe, "smaller", Format::Pare);
    let report = session.compress(&request, &Quiet::default()).unwrap();
    assert_eq!(planned.bytes, report.bytes_after);
    let written = Session::open(&request.out, workshop.options(1)).unwrap();
    let found = written.estimate_input(None, Format::Pare, run).unwrap();
    assert_eq!(planned.layers, found.layers);
    assert_eq!(planned.network, found.network);
}

#[test]
fn zeros_that_no_option_has_are_told_to_go() {
    let workshop = Workshop::new();
    let mut request = judging(&workshop, &["4/32"]);
    request.recipe.default.prune = "4/32@2:4"
        .parse::<LayerOption>()
        .unwrap()
        .apply(&request.recipe.default, Method::Gptq)
        .prune;
    let warned = Warned::default();
    open(&workshop, 1).sensitivity(&request, &warned).unwrap();
    let told = warned.0.into_inner().unwrap().concat();
    assert!(told.contains("4/32@2:4"), "{told}");
}
