// What the data sets of picture files share: where the pictures are brought to one extent.
#pragma once

#include <string>

#include "models/data/sources.h"

namespace vitrine::data {

/// Takes "[,size=HxW][,shorter=N][,grey]" off the end of a spec; a usage Error names `kind`. Given values win over
/// `fit`.
std::string take_picture_options(const std::string& kind, const std::string& spec, PictureFit& fit);

/// Reads a picture, brings it to the fit's extent (the first one's, where that is open) and appends it with its label.
void append_picture(ByteImages&, PictureFit& fit, const std::string& path, int label);

/// Closes the set: shape and a preparation that fits pictures of unknown statistics.
void finish_pictures(ByteImages&, const PictureFit& fit);

}  // namespace vitrine::data
