// cuDNN 9 behind the slots of the CUDA module: convolutions, batch norm, pools. It is loaded at run time if it is
// installed; nothing needs it. Each slot has an ordered list of ways (kernels/ways.h), the module's own kernels last.
// VITRINE_REPORT=1 prints which way each call goes and why cuDNN did not take it.
//
//   VITRINE_CUDNN=deterministic   the default: only algorithms that give the same bits every time
//   VITRINE_CUDNN=fast            any algorithm
//   VITRINE_CUDNN=off             the module's own kernels
//   VITRINE_CUDNN_LIBRARY=FILE    instead of libcudnn.so.9
#pragma once

#include "kernels/cuda/families.h"

namespace vitrine::kernels::cuda {

/// Puts cuDNN before the slots that the table already has. Its version ("9.19.0"), or null if it is not used; `why`
/// then has the reason.
const char* fill_cudnn(Table<float>&, Math, const char** why) noexcept;

}  // namespace vitrine::kernels::cuda
