//! Pages of every kind: well-formed, escaped, alike for alike runs, with a reason for each number that is missing.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::grid::ScaleDtype;
use crate::moments::Prefix;
use crate::packed::ActivationPlan;
use crate::report::{
    BlockCut, DecoderEvaluation, Fallback, KlSummary, NetworkSizes, PartCut, StructurePlan,
    TextDigest, TrainPoint,
};
use crate::settings::{
    Activations, ColumnOrder, KvCache, LayerSettings, PruneMethod, Pruning, Rank, Refine,
};
use crate::solved::{Method, Warning};

const HOSTILE: &str = "model.layers.0.</td><script src=\"http://x\">alert('&1')</script>\u{202e}";

fn settings(method: Method) -> LayerSettings {
    LayerSettings {
        method,
        bits: 4,
        group: 128,
        symmetric: false,
        scale_dtype: ScaleDtype::F16,
        clip_search: 20,
        order: ColumnOrder::Static,
        damping: 0.01,
        refine: Refine::Off,
        prefix: Prefix::Compressed,
        double_quant: false,
        activations: Activations::None,
        activation_block: 0,
        smooth: 0.0,
        prune: Pruning::NONE,
        rank: Rank::None,
        palette_rows: 0,
    }
}

fn layer(name: &str, method: Method, error: Option<f64>) -> LayerReport {
    LayerReport {
        name: name.to_owned(),
        method,
        bits: if method == Method::None { 16 } else { 4 },
        group: 128,
        sparsity: 0.0,
        prune: PruneMethod::None,
        pattern: None,
        rank: None,
        palette: None,
        bytes: 2200,
        weights: 4096,
        relative_output_error: error,
        sqnr_db: error.map(|_| 20.15),
        cosine: None,
        max_error: Some(0.01),
        seconds: 0.25,
        fallback: None,
        warnings: Vec::new(),
        codes_used: 16,
        dead_inputs: 0,
        activations: ActivationPlan::NONE,
        settings: settings(method),
        histograms: None,
        reason: None,
    }
}

fn decoder() -> DecoderEvaluation {
    DecoderEvaluation {
        tokens: 19_200,
        windows: 75,
        perplexity: 2.109_44,
        perplexity_stderr: Some(0.0204),
        seconds: 0.2,
        reference_perplexity: Some(2.098),
        perplexity_ratio: Some(1.0054),
        perplexity_ratio_stderr: Some(0.000_3),
        kl: Some(KlSummary {
            mean: 0.004_72,
            stderr: Some(0.000_23),
            p50: 0.000_82,
            p90: 0.009_64,
            p99: 0.061_8,
            max: 0.493,
        }),
        same_top: Some(0.9837),
        flips: Some(0.0083),
        kv_cache: KvCache::F32,
    }
}

fn training() -> DistillReport {
    let point = |step: u64| TrainPoint {
        loss: (step != 2).then(|| 3.0 / (step + 1) as f64),
        held_out: (step == 4).then_some(0.9),
        rate: 1e-3,
        gradient_norm: None,
        ..TrainPoint::before(step)
    };
    DistillReport {
        out: "out".to_owned(),
        mode: "weights".to_owned(),
        steps: 4,
        skipped_steps: 1,
        ended_early: false,
        loss_first: Some(3.0),
        loss_last: None,
        held_out_first: None,
        held_out_best: None,
        best_step: None,
        perplexity_before: None,
        perplexity_after: Some(2.5),
        reference_perplexity: Some(2.1),
        evaluation: None,
        seconds: 12.0,
        step_seconds: 0.5,
        tokens_per_second: 1000.0,
        of_fma_bound: None,
        parameters: 1000,
        trained_parameters: 1000,
        memory_bytes: 1 << 20,
        peak_rss_bytes: 1 << 21,
        sparsity: None,
        export_difference: None,
        bytes: 4000,
        verified: Verified {
            tensors: 3,
            max_abs_difference: 0.0,
        },
        recipe: String::new(),
        curve: (0..=4).map(point).collect(),
        warnings: Vec::new(),
    }
}

fn structure() -> StructureReport {
    let sizes = |blocks| NetworkSizes {
        blocks,
        heads: 4,
        kv_heads: 4,
        neurons: 128,
        vocabulary: 512,
        parameters: 1000 * blocks as u64,
        tensor_bytes: 2000 * blocks as u64,
    };
    let part = PartCut {
        removed: vec![1, 2],
        removed_score_share: 0.1,
        relative_error_cut: 0.2,
        relative_error_repaired: None,
    };
    StructureReport {
        plan: StructurePlan {
            before: sizes(4),
            after: sizes(3),
            notes: vec!["a <note>".to_owned()],
        },
        removed_blocks: vec![2],
        similarity: Vec::new(),
        cuts: vec![BlockCut {
            block: 0,
            heads: None,
            neurons: Some(part),
        }],
        vocabulary: None,
        seconds: 1.0,
    }
}

/// A page with something of everything, some of it hostile.
fn full() -> RunPage {
    let mut hostile = layer(HOSTILE, Method::Gptq, Some(0.05));
    hostile.fallback = Some(Fallback {
        from: "group <7>".to_owned(),
        to: "group 4".to_owned(),
        reason: "it \"divides\" & fits".to_owned(),
    });
    hostile.warnings = vec![Warning::DeadInputs { count: 2 }];
    RunPage {
        name: "run <1>".to_owned(),
        kind: RunKind::Compressed,
        format: Some("pare".to_owned()),
        bytes_before: Some(413_200),
        bytes_after: Some(209_500),
        bits_per_weight: Some(4.33),
        seconds: Some(0.9),
        peak_rss_bytes: Some(44_800_000),
        stages: vec![("solve".to_owned(), 0.5)],
        layers: vec![
            layer("model.embed_tokens", Method::None, None),
            layer("model.layers.0.mlp.up_proj", Method::Gptq, Some(0.0431)),
            layer("model.layers.1.mlp.up_proj", Method::Rtn, Some(0.0)),
            hostile,
        ],
        fallbacks: Vec::new(),
        structure: Some(structure()),
        training: Some(training()),
        evaluation: Some(Evaluation::Decoder(decoder())),
        verified: Some(Verified {
            tensors: 21,
            max_abs_difference: 0.0,
        }),
        recipe: Some("[[layer]]\nmatch = \"</pre><script>\"\n".to_owned()),
        seed: Some(0),
        environment: Some(Environment {
            pare_version: "0.1.0".to_owned(),
            threads: 2,
            instruction_set: "avx2".to_owned(),
            finished_unix_seconds: Some(1_732_370_700),
            calibration_text: None,
            evaluation_text: Some(TextDigest {
                name: "<text>.txt".to_owned(),
                bytes: 100,
                sha256: "ab".repeat(32),
            }),
        }),
        front: Some(Front {
            measure: "predicted_kl".to_owned(),
            points: vec![(100_000, 0.1), (300_000, 0.001)],
        }),
        files: vec![HashedFile {
            path: "a&b".to_owned(),
            bytes: 3,
            sha256: Ok("00".repeat(32)),
        }],
        warnings: vec!["a rule <hits> no layer".to_owned()],
    }
}

/// Of a folder of which almost nothing is known.
fn bare(kind: RunKind) -> RunPage {
    let RunPage {
        name, fallbacks, ..
    } = full();
    RunPage {
        name,
        fallbacks,
        ..RunPage::empty(kind)
    }
}

/// Reads `text` as XML reads it, HTML's void elements aside: every tag closed in order, attributes in quotes, no stray
/// sign. The names of elements come back.
fn well_formed(text: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut names = Vec::new();
    let body = text.strip_prefix("<!DOCTYPE html>\n").unwrap_or(text);
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing in order");
            continue;
        }
        let inner = tag.strip_suffix('/').unwrap_or(tag);
        let name = inner.split([' ', '\n']).next().unwrap().to_owned();
        assert!(
            name.chars().all(|letter| letter.is_ascii_alphanumeric()),
            "{tag:?}"
        );
        assert!(inner.matches('"').count().is_multiple_of(2), "{tag:?}");
        check_text(inner);
        names.push(name.clone());
        if name == "style" {
            // Its text is no markup.
            let close = rest.find("</style>").unwrap();
            assert!(!rest[..close].contains('<'));
            rest = &rest[close..];
        }
        if !tag.ends_with('/') && name != "meta" {
            open.push(name);
        }
    }
    assert!(
        open.is_empty() && rest.trim().is_empty(),
        "{open:?} is open"
    );
    names
}

/// Text and attributes have no bare `&` and no sign that XML forbids.
fn check_text(text: &str) {
    for part in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        assert!(
            known.iter().any(|entity| part.starts_with(entity)),
            "{part:?}"
        );
    }
    let is_bad = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    assert!(!text.contains(is_bad), "{text:?}");
}

#[test]
fn every_page_is_well_formed_and_reaches_nothing() {
    for page in [
        full(),
        bare(RunKind::Compressed),
        bare(RunKind::Trained),
        bare(RunKind::Exported),
    ] {
        let html = page.html();
        let names = well_formed(&html);
        for element in [
            "script", "link", "img", "iframe", "object", "a", "base", "form",
        ] {
            assert!(!names.iter().any(|name| name == element), "{element}");
        }
        let reaching = html.replace("http://www.w3.org/2000/svg", "");
        for word in ["url(", "@import", "src=\"", "href="] {
            assert!(!reaching.contains(word), "{word} in the page");
        }
        assert_eq!(page.html(), html, "the same run gives the same page");
    }
}

#[test]
fn pictures_are_xml_by_themselves() {
    let html = full().html();
    let mut pictures = 0;
    let mut rest = html.as_str();
    while let Some(start) = rest.find("<svg") {
        let end = start + rest[start..].find("</svg>").unwrap() + "</svg>".len();
        assert_eq!(well_formed(&rest[start..end])[0], "svg");
        rest = &rest[end..];
        pictures += 1;
    }
    assert_eq!(pictures, 6, "errors, bytes, bits, front, losses, gradients");
}

#[test]
fn names_of_files_are_text_and_nothing_else() {
    let html = full().html();
    assert!(!html.contains("<script"), "a name became markup");
    let name = "model.layers.0.&lt;/td&gt;&lt;script src=&quot;http://x&quot;&gt;alert(&#39;&amp;1&#39;)&lt;/script&gt;[U+202E]";
    assert!(html.contains(name));
    for text in [
        "run &lt;1&gt;",
        "&lt;text&gt;.txt",
        "a&amp;b",
        "&lt;/pre&gt;&lt;script&gt;",
        "a &lt;note&gt;",
    ] {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn numbers_stand_with_their_errors_and_units() {
    let html = full().html().replace('\u{202f}', " ");
    let expected = [
        "413.2 kB → 209.5 kB",
        "2.098 → 2.109 ± 0.020",
        "0.00472 ± 0.00023",
        "ratio 1.00540 ± 0.00030 from paired windows",
        "2024-11-23 14:05 UTC",
        "2 of 4 layers by gptq at 4 bits, 1 by rtn at 4 bits",
        "Not drawn: 2 layers without an error, or without one that was measured",
        "group 4 instead of group &lt;7&gt;: it &quot;divides&quot; &amp; fits; 2 inputs were never used",
        "1 layer could not be done as asked",
        "not measured: the step was skipped",
        "not measured: no sequences were held out",
    ];
    for text in expected {
        assert!(html.contains(text), "{text:?} is not in the page");
    }
}

#[test]
fn what_is_not_known_says_so() {
    let html = bare(RunKind::Compressed).html();
    for text in [
        "not measured: no text to evaluate on was named",
        "not measured: no layer holds codes",
        "This run keeps no recipe",
        "not recorded by the version that made this run",
    ] {
        assert!(html.contains(text), "{text:?} is not in the page");
    }
    let exported = bare(RunKind::Exported).html();
    assert!(exported.contains("an export is not measured"), "{exported}");
}

#[test]
fn the_table_of_layers_has_a_line_for_each() {
    let text = layers_csv(&full().layers);
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines.len(), 6, "a head, four layers, an end");
    assert!(lines[0].contains("stored_bytes,weights,stored_bits_per_weight"));
    assert!(lines[2].starts_with(
        "model.layers.0.mlp.up_proj,gptq,4,128,0,,,2200,4096,4.296875,0.0431,20.15,,"
    ));
}
