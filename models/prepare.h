// From pictures to what a network takes, as its InputPreparation says.
#pragma once

#include "core/host/io/image.h"
#include "models/model.h"

namespace vitrine {

/// The picture at w x h: stretched, or with `shorter` above 0 brought to that shorter side and its centre cut out.
io::Image fit(const io::Image&, int w, int h, int shorter);

/// Pixels to (C,H,W) in the network's order and units; the picture has the network's extent and channels.
void prepare(const InputPreparation&, const io::Image&, float* chw);

/// Likewise in place, from (C,H,W) pixels in [0,1] in red, green, blue.
void prepare(const InputPreparation&, const Shape& image, float* chw);

}  // namespace vitrine
