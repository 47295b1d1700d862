//! `evaluate`: quality of a decoder on a text, or of an encoder on sentences and pairs.

use super::requests::EvaluateRequest;
use super::{Session, SessionError, open_model};
use crate::checkpoint::Checkpoint;
use crate::corpus::{Corpus, Tokenizer, read_sentence_pairs, read_sentences};
use crate::evaluate::{EncoderTask, Pooling, evaluate_decoder, evaluate_encoder};
use crate::model::Model;
use crate::report::{Evaluation, Notice, Observer};
use std::path::Path;
use std::sync::Arc;

/// Windows are no longer than this unless asked for.
const DEFAULT_WINDOW_TOKENS: usize = 2048;

/// Sentences are cut here unless asked otherwise.
const DEFAULT_SENTENCE_TOKENS: usize = 128;

impl Session {
    /// Measures quality, beside a reference where one is named.
    pub fn evaluate(
        &self,
        request: &EvaluateRequest,
        observer: &dyn Observer,
    ) -> Result<Evaluation, SessionError> {
        let reference = match &request.reference {
            Some(path) => Some(open_runnable(path)?),
            None => None,
        };
        for note in self.checkpoint.notes() {
            observer.notice(Notice::Warning(note));
        }
        let model = self.model_on_kernels()?;
        if model.is_encoder() && request.kv.is_some() {
            return Err(self.input_problem("an encoder keeps no keys and values; leave --kv out"));
        }
        let request = EvaluateRequest {
            kv: Some(request.kv.unwrap_or_else(|| self.kept_by_run(observer))),
            ..request.clone()
        };
        let measure = || self.measure(&model, reference.as_ref(), &request, observer);
        self.pool.install(measure)
    }

    /// `evaluate` of any model with this session's tokenizer and options.
    pub(super) fn measure(
        &self,
        model: &Model,
        reference: Option<&Model>,
        request: &EvaluateRequest,
        observer: &dyn Observer,
    ) -> Result<Evaluation, SessionError> {
        if model.is_encoder() {
            return self.measure_encoder(model, reference, request, observer);
        }
        let Some(path) = &request.corpus else {
            return Err(
                self.input_problem("a decoder is evaluated on a text; name one with --corpus")
            );
        };
        if request.sts.is_some() {
            return Err(self.input_problem(
                "sentence pairs (--sts) are for encoders, and this model is a decoder",
            ));
        }
        let corpus = self.open_corpus(path)?;
        let length = request.length.unwrap_or_else(|| self.default_length(model));
        let mut windows = corpus.windows(length)?;
        windows.truncate(request.windows.unwrap_or(usize::MAX));
        let memory_bytes = self.memory_bytes();
        Ok(Evaluation::Decoder(evaluate_decoder(
            model,
            request.kv.unwrap_or_default(),
            reference,
            &windows,
            memory_bytes,
            observer,
        )?))
    }

    fn measure_encoder(
        &self,
        model: &Model,
        reference: Option<&Model>,
        request: &EvaluateRequest,
        observer: &dyn Observer,
    ) -> Result<Evaluation, SessionError> {
        let tokenizer = self.tokenizer()?.ok_or_else(|| {
            self.input_problem(
                "an encoder is evaluated on sentences, and the model has no tokenizer.json",
            )
        })?;
        let sentences = match &request.corpus {
            Some(path) => read_sentences(path)?,
            None => Vec::new(),
        };
        let pairs = match &request.sts {
            Some(path) => read_sentence_pairs(path)?,
            None => Vec::new(),
        };
        if sentences.is_empty() && pairs.is_empty() {
            return Err(self.input_problem(
                "an encoder is evaluated on sentences; name some with --corpus or --sts",
            ));
        }
        let pooling = Pooling::read(&self.checkpoint)?;
        let task = EncoderTask {
            sentences: &sentences,
            pairs: &pairs,
            tokenizer: &tokenizer,
            length: request.length.unwrap_or(DEFAULT_SENTENCE_TOKENS),
            pooling: &pooling,
        };
        let memory_bytes = self.memory_bytes();
        Ok(Evaluation::Encoder(evaluate_encoder(
            model,
            reference,
            &task,
            memory_bytes,
            observer,
        )?))
    }

    /// The smaller of 2048 and the model's context.
    pub(super) fn default_length(&self, model: &Model) -> usize {
        model.config().context_length.min(DEFAULT_WINDOW_TOKENS)
    }

    /// The model's tokenizer, where it has one.
    pub(super) fn tokenizer(&self) -> Result<Option<Tokenizer>, SessionError> {
        let Some(json) = self.checkpoint.read_side("tokenizer.json") else {
            return Ok(None);
        };
        let name = self.checkpoint.root().join("tokenizer.json");
        let name = name.display().to_string();
        Ok(Some(Tokenizer::from_json(&name, &json)?))
    }

    /// A text as token ids of this model.
    pub(super) fn open_corpus(&self, path: &Path) -> Result<Corpus, SessionError> {
        let vocabulary = self.model()?.config().vocabulary;
        Ok(Corpus::open(path, self.tokenizer()?.as_ref(), vocabulary)?)
    }

    pub(super) fn input_problem(&self, problem: &str) -> SessionError {
        SessionError::Input {
            problem: problem.to_owned(),
            path: self.path.clone(),
        }
    }
}

/// Opens a model that must be able to run, codes on the kernels.
pub(super) fn open_runnable(path: &Path) -> Result<Model, SessionError> {
    let checkpoint = Arc::new(Checkpoint::open(path)?);
    let model = open_model(&checkpoint).map_err(|reason| SessionError::NoNetwork {
        reason,
        path: path.to_owned(),
    })?;
    Ok(model.on_kernels(checkpoint))
}
