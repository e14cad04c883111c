// How many images a session takes at once.
#pragma once

#include <cstdint>

#include "core/host/session.h"

namespace vitrine {

/// What a session will be used for, as far as that is known.
struct Demand {
  std::int32_t images = 0;  ///< how many come in one call; 0: not known
  bool path = false;        ///< they are all made of one image, and weights are read by all of them
};

/// How many images a session takes at once, and whether its weights are kept prepared for the kernels.
struct Fit {
  std::int32_t batch;
  bool prepare;
};

/// The largest batch of 1 to 64 images that fits `budget` bytes and is still faster per image than a smaller one.
/// `extra_per_image`: bytes that the caller needs beside the plan. Large weights are prepared anew for each batch if
/// many images come together, since that costs them little and saves the memory.
Fit fit_batch(const Engine&, PlanRequest, std::size_t budget, Demand = {}, std::size_t extra_per_image = 0);

}  // namespace vitrine
