// Asks llama.cpp for logits (or an encoder's outputs) of given token ids.
//
//   llama_worker MODEL.gguf IDS OUT THREADS [SEQUENCE [LAYERS]]
//
// IDS: i32 little-endian. SEQUENCE: tokens in each sequence (default: all in one). OUT: f32, one row for each token.
// LAYERS: a folder for what every layer got and gave, f32: NAME.in and NAME.out, sequence after sequence.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "ggml.h"
#include "llama.h"

static std::vector<llama_token> read_ids(const char * path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const auto * first = reinterpret_cast<const llama_token *>(bytes.data());
    return {first, first + bytes.size() / sizeof(llama_token)};
}

static void only_errors(ggml_log_level level, const char * text, void *) {
    if (level >= GGML_LOG_LEVEL_WARN) {
        fputs(text, stderr);
    }
}

static int fail(const char * what) {
    fprintf(stderr, "llama_worker: %s\n", what);
    return 1;
}

static bool is_layer(const ggml_tensor * node) {
    const std::string weight = node->op == GGML_OP_MUL_MAT ? node->src[0]->name : "";
    return weight.size() > 7 && weight.compare(weight.size() - 7, 7, ".weight") == 0;
}

static void append(const std::string & path, const ggml_tensor * tensor) {
    std::vector<char> bytes(ggml_nbytes(tensor));
    ggml_backend_tensor_get(tensor, bytes.data(), 0, bytes.size());
    std::ofstream(path, std::ios::binary | std::ios::app).write(bytes.data(), (std::streamsize) bytes.size());
}

// Called before a node (whether it is wanted) and after it.
static bool keep_layer(ggml_tensor * node, bool asks, void * folder) {
    if (!is_layer(node) || asks) {
        return !asks || is_layer(node);
    }
    const std::string stem = std::string((const char *) folder) + "/" + node->src[0]->name;
    if (node->src[1]->type == GGML_TYPE_F32 && ggml_is_contiguous(node->src[1])) {
        append(stem + ".in", node->src[1]);
        append(stem + ".out", node);
    }
    return true;
}

int main(int count, char ** words) {
    if (count < 5) {
        return fail("usage: llama_worker MODEL.gguf IDS OUT THREADS [SEQUENCE [LAYERS]]");
    }
    llama_log_set(only_errors, nullptr);
    llama_backend_init();
    auto model_settings = llama_model_default_params();
    llama_model * model = llama_model_load_from_file(words[1], model_settings);
    if (!model) {
        return fail("the model does not load");
    }
    std::vector<llama_token> ids = read_ids(words[2]);
    const int sequence = count > 5 ? atoi(words[5]) : (int) ids.size();
    const llama_vocab * vocabulary = llama_model_get_vocab(model);

    auto settings = llama_context_default_params();
    settings.n_ctx = settings.n_batch = settings.n_ubatch = sequence;
    settings.n_threads = settings.n_threads_batch = atoi(words[4]);
    settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    settings.type_k = settings.type_v = GGML_TYPE_F32;
    settings.pooling_type = LLAMA_POOLING_TYPE_NONE;
    if (count > 6) {
        settings.cb_eval = keep_layer;
        settings.cb_eval_user_data = words[6];
    }
    char architecture[64] = "";
    llama_model_meta_val_str(model, "general.architecture", architecture, sizeof architecture);
    const bool embeddings = std::string(architecture) == "bert";
    settings.embeddings = embeddings;
    llama_context * context = llama_init_from_model(model, settings);
    if (!context) {
        return fail("no context could be made");
    }
    const int width = embeddings ? llama_model_n_embd(model) : llama_vocab_n_tokens(vocabulary);
    std::ofstream out(words[3], std::ios::binary);
    for (size_t start = 0; start + sequence <= ids.size(); start += sequence) {
        if (llama_memory_t memory = llama_get_memory(context)) {
            llama_memory_clear(memory, true);
        }
        llama_batch batch = llama_batch_init(sequence, 0, 1);
        for (int token = 0; token < sequence; ++token) {
            batch.token[token] = ids[start + token];
            batch.pos[token] = token;
            batch.n_seq_id[token] = 1;
            batch.seq_id[token][0] = 0;
            batch.logits[token] = 1;
        }
        batch.n_tokens = sequence;
        if ((embeddings ? llama_encode(context, batch) : llama_decode(context, batch)) != 0) {
            return fail("the tokens could not be run");
        }
        for (int token = 0; token < sequence; ++token) {
            const float * row = embeddings ? llama_get_embeddings_ith(context, token) : llama_get_logits_ith(context, token);
            out.write(reinterpret_cast<const char *>(row), sizeof(float) * width);
        }
        llama_batch_free(batch);
    }
    llama_free(context);
    llama_model_free(model);
    return out.good() ? 0 : fail("the output could not be written");
}
