// Times matrix products of ggml for the harness: reads commands from standard input, one answer line for each.
//
// The protocol is that of `workers.py`. A case is `FORMAT` or `FORMAT+repack`: with `+repack` weights lie in ggml's
// own repacking buffer where it has one for the format, otherwise the case is missing. Whether plain K-quants go
// through ggml's tiled path is decided once for the process by its environment (GGML_CPU_TILED_MM).

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

std::vector<float> read_floats(const std::string & path, size_t count) {
    std::vector<float> values(count);
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char *>(values.data()), static_cast<std::streamsize>(count * sizeof(float)));
    if (!file) {
        throw std::runtime_error("could not read " + path);
    }
    return values;
}

ggml_type type_of(const std::string & format) {
    static const std::map<std::string, ggml_type> types = {
        {"f32", GGML_TYPE_F32},   {"f16", GGML_TYPE_F16},   {"q8_0", GGML_TYPE_Q8_0},
        {"q4_0", GGML_TYPE_Q4_0}, {"q4_k", GGML_TYPE_Q4_K}, {"q6_k", GGML_TYPE_Q6_K},
    };
    const auto found = types.find(format);
    if (found == types.end()) {
        throw std::runtime_error("no format " + format);
    }
    return found->second;
}

// The buffer type in which the backend lays out weights of its own accord, if it has one.
ggml_backend_buffer_type_t repack_buffer_type(ggml_backend_dev_t device) {
    auto * registry = ggml_backend_dev_backend_reg(device);
    auto * get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts"));
    if (get == nullptr) {
        return nullptr;
    }
    for (auto * types = get(device); types != nullptr && *types != nullptr; types++) {
        if (std::string(ggml_backend_buft_name(*types)) == "CPU_REPACK") {
            return *types;
        }
    }
    return nullptr;
}

struct ContextDeleter {
    void operator()(ggml_context * context) const { ggml_free(context); }
};
struct BufferDeleter {
    void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
};
using Context = std::unique_ptr<ggml_context, ContextDeleter>;
using Buffer = std::unique_ptr<ggml_backend_buffer, BufferDeleter>;

Context new_context(size_t tensors) {
    const ggml_init_params parameters = {
        ggml_tensor_overhead() * tensors + ggml_graph_overhead() * tensors, nullptr, /*no_alloc=*/true};
    return Context(ggml_init(parameters));
}

// One product with as many copies of its weights as must not fit into caches.
class Product {
public:
    Product(ggml_backend_t backend, const std::string & name, int64_t tokens, int64_t rows, int64_t columns,
            size_t copies, const std::string & folder)
        : backend_(backend), weight_context_(new_context(copies + 1)), context_(new_context(4 * copies + 8)) {
        const auto plus = name.find('+');
        const auto type = type_of(name.substr(0, plus));
        auto * device = ggml_backend_get_device(backend);
        auto * place = ggml_backend_get_default_buffer_type(backend);
        const bool repack = plus != std::string::npos;
        if (repack) {
            place = repack_buffer_type(device);
            if (place == nullptr) {
                throw std::runtime_error("this build has no repacking buffer");
            }
        }
        std::vector<ggml_tensor *> weights;
        for (size_t copy = 0; copy < copies; copy++) {
            weights.push_back(ggml_new_tensor_2d(weight_context_.get(), type, columns, rows));
        }
        weight_buffer_.reset(ggml_backend_alloc_ctx_tensors_from_buft(weight_context_.get(), place));
        if (weight_buffer_ == nullptr) {
            throw std::runtime_error("no memory for the weights");
        }
        if (repack && weights[0]->extra == nullptr) {
            throw std::runtime_error("ggml has no repacked layout for this format here");
        }
        fill(weights, type, rows, columns, folder);
        weight_bytes_ = ggml_nbytes(weights[0]);

        auto * input = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, columns, tokens);
        for (auto * weight : weights) {
            auto * product = ggml_mul_mat(context_.get(), weight, input);
            if (!ggml_backend_dev_supports_op(device, product)) {
                throw std::runtime_error("ggml has no product for this format here");
            }
            auto * graph = ggml_new_graph_custom(context_.get(), 8, false);
            ggml_build_forward_expand(graph, product);
            graphs_.push_back(graph);
            products_.push_back(product);
        }
        buffer_.reset(ggml_backend_alloc_ctx_tensors(context_.get(), backend));
        const auto values = read_floats(folder + "/input.f32", static_cast<size_t>(tokens * columns));
        ggml_backend_tensor_set(input, values.data(), 0, ggml_nbytes(input));
    }

    size_t weight_bytes() const { return weight_bytes_; }

    void run() {
        if (ggml_backend_graph_compute(backend_, graphs_[next_]) != GGML_STATUS_SUCCESS) {
            throw std::runtime_error("the product failed");
        }
        next_ = (next_ + 1) % graphs_.size();
    }

    void write_result(const std::string & path) {
        next_ = 0;
        run();
        std::vector<char> bytes(ggml_nbytes(products_[0]));
        ggml_backend_tensor_get(products_[0], bytes.data(), 0, bytes.size());
        std::ofstream file(path, std::ios::binary);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }

private:
    static void fill(const std::vector<ggml_tensor *> & weights, ggml_type type, int64_t rows, int64_t columns,
                     const std::string & folder) {
        const auto values = read_floats(folder + "/weights.f32", static_cast<size_t>(rows * columns));
        std::vector<uint8_t> encoded(ggml_row_size(type, columns) * static_cast<size_t>(rows));
        ggml_quantize_chunk(type, values.data(), encoded.data(), 0, rows, columns, nullptr);
        for (auto * weight : weights) {
            ggml_backend_tensor_set(weight, encoded.data(), 0, encoded.size());
        }
    }

    ggml_backend_t backend_;
    Context weight_context_;
    Context context_;
    Buffer weight_buffer_;
    Buffer buffer_;
    std::vector<ggml_cgraph *> graphs_;
    std::vector<ggml_tensor *> products_;
    size_t weight_bytes_ = 0;
    size_t next_ = 0;
};

std::string time_calls(Product & product, double milliseconds) {
    std::ostringstream answer;
    product.run();
    const auto begin = Clock::now();
    do {
        const auto before = Clock::now();
        product.run();
        answer << ' ' << std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - before).count();
    } while (std::chrono::duration<double, std::milli>(Clock::now() - begin).count() < milliseconds);
    return answer.str();
}

}  // namespace

int main(int arguments, char ** argument) {
    const int threads = arguments > 1 ? std::stoi(argument[1]) : 1;
    ggml_backend_t backend = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(backend, threads);
    std::map<std::string, std::unique_ptr<Product>> products;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string verb, id;
        words >> verb >> id;
        try {
            if (verb == "prepare") {
                std::string name, folder;
                int64_t tokens = 0, rows = 0, columns = 0;
                size_t copies = 0;
                words >> name >> tokens >> rows >> columns >> copies >> folder;
                auto product = std::make_unique<Product>(backend, name, tokens, rows, columns, copies, folder);
                std::cout << "ready " << product->weight_bytes() << std::endl;
                products[id] = std::move(product);
            } else if (verb == "check") {
                std::string path;
                words >> path;
                products.at(id)->write_result(path);
                std::cout << "ready" << std::endl;
            } else if (verb == "time") {
                double milliseconds = 0;
                words >> milliseconds;
                std::cout << "timed" << time_calls(*products.at(id), milliseconds) << std::endl;
            } else if (verb == "drop") {
                products.erase(id);
                std::cout << "ready" << std::endl;
            } else {
                std::cout << "missing no such command" << std::endl;
            }
        } catch (const std::exception & error) {
            std::cout << "missing " << error.what() << std::endl;
        }
    }
    products.clear();
    ggml_backend_free(backend);
    return 0;
}
