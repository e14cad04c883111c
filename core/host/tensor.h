// Owners of numbers: where an engine's kernels work, and on the host.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/host/engine.h"
#include "core/host/error.h"
#include "core/host/memory.h"
#include "core/shape.h"

namespace vitrine {

/// Numbers where an engine's kernels work.
class Storage {
 public:
  Storage() = default;
  /// Zeros.
  Storage(const Engine& engine, std::size_t count) : device_(engine.device()), memory_(count * sizeof(real), device_) {
    if (device_ != nullptr && count > 0) device_->zero(memory_.data(), memory_.bytes());
  }
  Storage(const Engine& engine, std::span<const real> values) : Storage(engine, values.size()) { upload(values); }
  real* data() const noexcept { return reinterpret_cast<real*>(memory_.data()); }
  /// An Error if there are more values than the storage has.
  void upload(std::span<const real> values) {
    check_size(values.size());
    vitrine::upload(device_, data(), values.data(), values.size_bytes());
  }
  void download(std::span<real> values) const {
    check_size(values.size());
    vitrine::download(device_, values.data(), data(), values.size_bytes());
  }

 private:
  void check_size(std::size_t count) const {
    if (count * sizeof(real) > memory_.bytes())
      throw Error("a storage of " + std::to_string(memory_.bytes() / sizeof(real)) + " numbers cannot take " +
                  std::to_string(count));
  }
  const kernels::Device* device_ = nullptr;
  Memory memory_;
};

/// Images in host memory, as a network takes them: (N,C,H,W), prepared.
struct Images {
  Shape shape{};
  std::vector<real> data;
  TensorView view() const noexcept { return {const_cast<real*>(data.data()), shape}; }
};

/// A vector whose numbers kernels work on: with a device there is a copy there, and the vector is the host's, as fresh
/// as the last `fetch`. Without one they are the same.
class Mirror {
 public:
  Mirror(const Engine& engine, std::vector<real>& host) : host_(host) {
    if (engine.device() != nullptr) copy_ = Storage(engine, host);
  }
  real* data() noexcept { return copy_.data() != nullptr ? copy_.data() : host_.empty() ? nullptr : host_.data(); }
  void fetch() {
    if (copy_.data() != nullptr) copy_.download(host_);
  }

 private:
  std::vector<real>& host_;
  Storage copy_;
};

/// A tensor in host memory: a view of a session's tensor that is good until the session runs again, or a copy that
/// stays (Session::peek and Session::download). It means the same with every device.
class HostTensor {
 public:
  /// `copy`: its own numbers, whatever the device. Without a device and without `copy` it looks at the tensor itself.
  HostTensor(const kernels::Device*, const TensorView&, bool copy);
  HostTensor(HostTensor&&) = default;
  const real* data;
  Shape shape;
  std::int64_t size() const noexcept { return shape.size(); }

 private:
  std::vector<real> copy_;  // a moved vector keeps its memory, so `data` stays right
};

}  // namespace vitrine
