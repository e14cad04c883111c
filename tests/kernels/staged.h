// A device's kernel table as the self-check can call it: with operands in host memory.
#pragma once

#include "kernels/device.h"

namespace vitrine::kernels::selfcheck {

/// A table whose slots copy their operands to the device, outputs with their old content included, call the device's
/// slot and copy the outputs back. Every second operand lies one element off the device's alignment. A failure of the
/// device ends the program with its sentence. One device at a time.
const Kernels& staged(const Device&);

}  // namespace vitrine::kernels::selfcheck
