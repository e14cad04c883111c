#include "interp/runs/activations.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/host/io/sha256.h"
#include "interp/runs/pass.h"
#include "interp/runs/rule_table.h"

namespace vitrine {
namespace {

namespace fs = std::filesystem;

// The file: this header, one label per image (int32), then per image the values of all nodes and, if asked for, their
// gradients. `done` counts images that are complete; it is written after their values.
struct Header {
  std::array<char, 8> magic{'v', 'i', 't', 'r', 'a', 'c', 't', '1'};
  std::array<char, 64> key{};
  std::int64_t images = 0, done = 0, per_image = 0;
};

// The mean over a channel's positions, or the maximum, or all of them; appends to `to`.
void append_pooled(const real* value, const Shape& s, Probe::Pool how, std::vector<real>& to) {
  if (how == Probe::Pool::maps) {
    to.insert(to.end(), value, value + s.per_image());
    return;
  }
  for (std::int32_t c = 0; c < s.c(); ++c) {
    const real* const plane = value + c * s.pixels();
    double sum = 0;
    for (std::int64_t p = 0; p < s.pixels(); ++p) sum += static_cast<double>(plane[p]);
    to.push_back(how == Probe::Pool::maximum ? *std::max_element(plane, plane + s.pixels())
                                             : static_cast<real>(sum / static_cast<double>(s.pixels())));
  }
}

std::string key_of(Subject& subject, const Probe& probe, std::int64_t images) {
  io::Sha256 hash;
  hash.add(subject.digest());
  hash.add(subject.data().digest());
  const Engine& engine = subject.engine();
  hash.add(engine.device() != nullptr ? engine.device()->name : kernels::name(kernels::active()));
  std::string what = "|" + std::to_string(images) + "|" + std::to_string(static_cast<int>(probe.pool));
  for (const std::string& node : probe.nodes) what += "|" + node;
  if (probe.gradient_of) what += "|d " + probe.gradient_of->name();
  hash.add(what);
  return hash.hexadecimal();
}

}  // namespace

struct ActivationStore::State {
  std::vector<Id> values;
  std::vector<Shape> stored;          // per node, of one image
  std::vector<std::int64_t> offsets;  // per node: within an image's record, in elements
  std::vector<std::optional<Geometry>> geometry;
  std::vector<std::string> names;
  bool with_gradient = false, reused = false;
  Header header;
  std::vector<int> labels;
  std::string path;
  int file = -1;  // -1: the values are in memory
  std::byte* mapped = nullptr;
  std::size_t bytes = 0;

  State(Subject&, const Probe&);
  ~State() {
    if (mapped != nullptr) ::munmap(mapped, bytes);
    if (file >= 0) ::close(file);
  }
  State(const State&) = delete;

  std::size_t values_at() const {
    const std::size_t end = sizeof(Header) + static_cast<std::size_t>(header.images) * sizeof(std::int32_t);
    return (end + 63) / 64 * 64;
  }
  std::size_t file_bytes() const {
    return values_at() + static_cast<std::size_t>(header.images * header.per_image) * sizeof(real);
  }
  const real* record(std::int64_t image) const {
    return reinterpret_cast<const real*>(mapped + values_at()) + image * header.per_image;
  }
  void open(const std::string& folder, std::size_t memory);
  bool resume();
  void map_file();
  void write(const void* data, std::size_t n, std::size_t at) const;
  void run(Subject&, const Probe&, const Job&);
  void append(const PassBatch&, const Probe&, Id from, Subject&);
};

ActivationStore::State::State(Subject& subject, const Probe& probe) : with_gradient(probe.gradient_of.has_value()) {
  const Graph& g = subject.model().graph();
  std::int64_t size = 0;
  for (const std::string& node : probe.nodes) {
    const Id v = subject.value(node);
    names.push_back(node);
    values.push_back(v);
    stored.push_back(probe.pool == Probe::Pool::maps ? g.shape(v) : Shape{1, g.shape(v).c()});
    offsets.push_back(size);
    size += stored.back().per_image();
    try {
      geometry.emplace_back(geometry_of(g, v));
    } catch (const Error&) {
      geometry.emplace_back();
    }
  }
  if (values.empty()) throw Error("no node is named whose activations are to be collected", Error::usage);
  header.images = pass_images(subject, {.keep = {}, .images = probe.images});
  header.per_image = with_gradient ? 2 * size : size;
  const std::string key = key_of(subject, probe, header.images);
  std::copy_n(key.begin(), header.key.size(), header.key.begin());
}

void ActivationStore::State::open(const std::string& folder, std::size_t memory) {
  if (folder.empty() && file_bytes() <= memory) return;
  std::error_code error;
  if (folder.empty()) {
    path = (fs::temp_directory_path(error) / "vitrine-activations-XXXXXX").string();
    file = ::mkstemp(path.data());
    if (file >= 0) ::unlink(path.c_str());
  } else {
    fs::create_directories(folder, error);
    path = (fs::path(folder) / ("activations-" + std::string(header.key.data(), 24) + ".bin")).string();
    file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  }
  if (file < 0) throw Error(path + ": cannot be opened: " + std::strerror(errno));
  if (!folder.empty() && resume()) return;
  if (::ftruncate(file, 0) != 0 || ::ftruncate(file, static_cast<off_t>(file_bytes())) != 0)
    throw Error(path + ": cannot hold " + std::to_string(file_bytes() >> 20) + " MiB: " + std::strerror(errno));
  write(&header, sizeof header, 0);
}

// Whether the file is of this probe; then `header.done` says how far it is.
bool ActivationStore::State::resume() {
  Header found;
  struct stat info {};
  if (::pread(file, &found, sizeof found, 0) != sizeof found || ::fstat(file, &info) != 0) return false;
  if (found.magic != header.magic || found.key != header.key || found.images != header.images ||
      found.per_image != header.per_image || static_cast<std::size_t>(info.st_size) != file_bytes())
    return false;
  header.done = std::clamp<std::int64_t>(found.done, 0, found.images);
  reused = header.done == header.images;
  return true;
}

void ActivationStore::State::map_file() {
  bytes = file_bytes();
  const int flags = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const p = ::mmap(nullptr, bytes, PROT_READ | (file >= 0 ? 0 : PROT_WRITE), flags, file, 0);
  if (p == MAP_FAILED) throw Error(path + ": cannot be mapped: " + std::strerror(errno));
  mapped = static_cast<std::byte*>(p);
}

void ActivationStore::State::write(const void* data, std::size_t n, std::size_t at) const {
  if (file < 0) {
    std::memcpy(mapped + at, data, n);
    return;
  }
  for (const char* p = static_cast<const char*>(data); n > 0;) {
    const ssize_t wrote = ::pwrite(file, p, n, static_cast<off_t>(at));
    if (wrote <= 0) throw Error(path + ": cannot be written: " + std::strerror(errno));
    p += wrote;
    at += static_cast<std::size_t>(wrote);
    n -= static_cast<std::size_t>(wrote);
  }
}

void ActivationStore::State::run(Subject& subject, const Probe& probe, const Job& job) {
  const Model& model = subject.model();
  Assignment rules(model);
  Pass p{.keep = values, .first = header.done, .images = header.images};
  Id from = no_id;
  if (with_gradient) {
    probe.gradient_of->check(model, header.images);
    from = probe.gradient_of->value(model);
    rules.fill_gradient();
    p.keep.push_back(from);
    p.rules = rules.rules;
    p.until = model.graph().input;
    p.keep_signals = values;
  }
  pass(subject, p, job, [&](const PassBatch& b) { append(b, probe, from, subject); });
}

// Writes the records of one batch, then how far the file is.
void ActivationStore::State::append(const PassBatch& b, const Probe& probe, Id from, Subject& subject) {
  std::vector<HostTensor> blocks;
  for (const Id v : values) blocks.push_back(b.session.peek(b.session.run().value(v)));
  if (with_gradient) {
    walk_from(b, subject.model(), *probe.gradient_of, from);
    subject.count(0, b.batch.count, b.session);
    for (const Id v : values) blocks.push_back(b.session.peek(b.session.run().signal(v)));
  }
  std::vector<real> records;
  for (std::int32_t n = 0; n < b.batch.count; ++n)
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      const bool gradient = k >= values.size();
      append_pooled(blocks[k].data + n * blocks[k].shape.per_image(), blocks[k].shape,
                    gradient && probe.pool == Probe::Pool::maximum ? Probe::Pool::mean : probe.pool, records);
    }
  const std::vector<std::int32_t> labels_here(b.batch.labels.begin(), b.batch.labels.end());
  const auto first = static_cast<std::size_t>(header.done);
  write(labels_here.data(), labels_here.size() * sizeof(std::int32_t), sizeof(Header) + first * sizeof(std::int32_t));
  write(records.data(), records.size() * sizeof(real),
        values_at() + first * static_cast<std::size_t>(header.per_image) * sizeof(real));
  header.done += b.batch.count;
  write(&header.done, sizeof header.done, offsetof(Header, done));
}

ActivationStore ActivationStore::collect(Subject& subject, const Probe& probe, const Job& job) {
  auto s = std::make_unique<State>(subject, probe);
  s->open(job.cache(), subject.memory_budget());
  if (s->file < 0) s->map_file();
  if (s->header.done < s->header.images) s->run(subject, probe, job);
  if (s->file >= 0) s->map_file();
  const auto* const labels = reinterpret_cast<const std::int32_t*>(s->mapped + sizeof(Header));
  s->labels.assign(labels, labels + s->header.images);
  return ActivationStore(std::move(s));
}

ActivationStore::ActivationStore(std::unique_ptr<State> s) : state_(std::move(s)) {}
ActivationStore::ActivationStore(ActivationStore&&) noexcept = default;
ActivationStore::~ActivationStore() = default;

std::int64_t ActivationStore::images() const noexcept { return state_->header.images; }
Shape ActivationStore::shape(std::size_t node) const noexcept { return state_->stored[node]; }
std::span<const int> ActivationStore::labels() const noexcept { return state_->labels; }
bool ActivationStore::reused() const noexcept { return state_->reused; }

std::span<const real> ActivationStore::map(std::size_t node, std::int64_t image) const {
  return {state_->record(image) + state_->offsets[node], static_cast<std::size_t>(state_->stored[node].per_image())};
}

std::span<const real> ActivationStore::gradient(std::size_t node, std::int64_t image) const {
  if (!state_->with_gradient) throw Error("these activations were collected without gradients");
  return {state_->record(image) + state_->header.per_image / 2 + state_->offsets[node],
          static_cast<std::size_t>(state_->stored[node].per_image())};
}

void ActivationStore::unit(std::size_t node, std::int32_t channel, std::span<real> out) const {
  const std::int64_t pixels = state_->stored[node].pixels();
  for (std::int64_t n = 0; n < images(); ++n)
    std::copy_n(map(node, n).data() + channel * pixels, pixels, out.data() + n * pixels);
}

Matrix ActivationStore::rows(std::size_t node) const {
  Matrix m(images(), state_->stored[node].per_image());
  for (std::int64_t n = 0; n < images(); ++n) {
    const std::span<const real> row = map(node, n);
    std::copy(row.begin(), row.end(), m.data.begin() + n * m.columns);
  }
  return m;
}

const Geometry& ActivationStore::geometry(std::size_t node) const {
  if (!state_->geometry[node])
    throw Error("node '" + state_->names[node] + "' has no places in the input", Error::usage);
  return *state_->geometry[node];
}

}  // namespace vitrine
