// Devices by name. A GPU's back end is a module of its own, opened when a command asks for it, so that the program
// neither links nor needs any of a GPU's libraries.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/device.h"

namespace vitrine {

/// "cpu" gives null: the host itself. "cuda" and "cuda:N" open libvitrine_cuda.so: the file that the environment
/// variable VITRINE_CUDA_LIBRARY names, or the first found beside the program (by its real path) and in the folder
/// that it was installed to; never in the current folder. An Error says in one sentence what is missing: the module,
/// the driver, or the device. Devices stay open.
const kernels::Device* open_device(const std::string& name);

}  // namespace vitrine
