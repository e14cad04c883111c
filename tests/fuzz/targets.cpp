// Readers of foreign files under random bytes, and what is run of them: a sentence (Error) or a result, never a crash.
// VITRINE_FUZZ chooses the reader. With clang and -Dfuzzing=true these are libFuzzer programs; everywhere, replay.cpp
// runs them over the kept corpus.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "core/host/io/file.h"
#include "core/host/io/image.h"
#include "core/host/io/npy.h"
#include "core/host/io/safetensors.h"
#include "interp/predict/explain.h"
#include "interp/runs/composite_file.h"
#include "models/data/sources.h"
#include "models/inside/rule_language.h"
#include "models/model.h"
#include "models/onnx/onnx.h"

#define VITRINE_NPY 1
#define VITRINE_SAFETENSORS 2
#define VITRINE_IMAGE 3
#define VITRINE_MODEL 4
#define VITRINE_ONNX 5
#define VITRINE_IDX 6
#define VITRINE_RULES 7
#define VITRINE_COMPOSITE 8
#define VITRINE_MODEL_RUN 9
#define VITRINE_ONNX_RUN 10

namespace {

// One small image through the network and back. What takes much memory is refused, so no run takes long.
[[maybe_unused]] void run(const vitrine::Model& model) {
  using namespace vitrine;
  static const Engine engine(1, "cpu", std::size_t{1} << 24);
  const Shape image = model.image_shape();
  if (image.per_image() > 1 << 16 || model.parameters.size() > std::size_t{1} << 20) return;
  const Images images{image, std::vector<real>(static_cast<std::size_t>(image.per_image()), real(0.5))};
  for (const char* const method : {"gradient", "lrp"}) try {
      ExplainRequest request;
      request.method = method;
      const Explanation e = explain(model, engine, images, request);
      for (const real r : e.relevance)
        if (!std::isfinite(r)) std::abort();  // NaN is refused, never returned
    } catch (const Error&) {
    }
}

// A file in memory, for readers that take a path.
[[maybe_unused]] std::string path_of(const std::uint8_t* data, std::size_t size) {
  static const int file = ::memfd_create("fuzz", 0);
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  return "/proc/self/fd/" + std::to_string(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vitrine;
  [[maybe_unused]] const auto* const bytes = reinterpret_cast<const std::byte*>(data);
  try {
#if VITRINE_FUZZ == VITRINE_NPY
    const io::NpyArray a = io::parse_npy(bytes, size, "fuzz.npy");
    (void)a.floats();
#elif VITRINE_FUZZ == VITRINE_SAFETENSORS
    const io::Safetensors file(std::span(bytes, size), "fuzz.safetensors");
    for (const io::TensorEntry& t : file.tensors()) (void)t.floats();
#elif VITRINE_FUZZ == VITRINE_IMAGE
    const io::Image image = io::parse_image(data, size, 3, "fuzz.png");
    if (image.w < 1024 && image.h < 1024) (void)io::resize(image, 7, 5);
#elif VITRINE_FUZZ == VITRINE_MODEL
    // The graph alone; every tensor that it asks for is there, with a shape that the name's length decides.
    (void)model_from_json(std::string(reinterpret_cast<const char*>(data), size), "fuzz.json",
                          [](const std::string& name, std::vector<std::int64_t>& shape) {
                            shape.assign(1 + name.size() % 4, 1 + static_cast<std::int64_t>(name.size() % 7));
                            return true;
                          });
#elif VITRINE_FUZZ == VITRINE_ONNX
    (void)model_to_json(onnx::import_bytes(std::span(bytes, size), "fuzz.onnx", ""));
#elif VITRINE_FUZZ == VITRINE_IDX
    const std::vector<std::byte> raw = io::maybe_gunzip({bytes, bytes + size}, "fuzz.idx", std::size_t{1} << 24);
    (void)data::parse_idx(raw, "fuzz.idx", raw.size() > 3 && raw[3] == std::byte{1} ? 1 : 3);
#elif VITRINE_FUZZ == VITRINE_RULES
    (void)RuleBase::parse(std::string(reinterpret_cast<const char*>(data), size), "fuzz.rules");
#elif VITRINE_FUZZ == VITRINE_COMPOSITE
    (void)CompositeFile(path_of(data, size));
#elif VITRINE_FUZZ == VITRINE_MODEL_RUN
    run(Model::load(path_of(data, size)));
#elif VITRINE_FUZZ == VITRINE_ONNX_RUN
    run(onnx::import_bytes(std::span(bytes, size), "fuzz.onnx", ""));
#endif
  } catch (const vitrine::Error&) {
  }
  return 0;
}
