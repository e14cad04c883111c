#include "core/host/tensor.h"

namespace vitrine {

HostTensor::HostTensor(const kernels::Device* device, const TensorView& t, bool copy) : data(t.data), shape(t.shape) {
  if (device == nullptr && !copy) return;
  copy_.resize(static_cast<std::size_t>(t.size()));
  download(device, copy_.data(), t.data, copy_.size() * sizeof(real));
  data = copy_.data();
}

}  // namespace vitrine
