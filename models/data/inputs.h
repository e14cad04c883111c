// What a network is given to predict or explain: pictures, folders of pictures, arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/given.h"

namespace vitrine::data {

/// Inputs as a network takes them, with a name each for people.
struct Inputs {
  Images images;                         ///< of the main input
  Given given;                           ///< of the others: one value for each image, or one for all
  std::vector<std::string> names;        ///< one per image
  std::vector<std::int64_t> file_shape;  ///< of the main input's .npy; empty where pictures were read
  bool nhwc = false;                     ///< the .npy was (N,H,W,C)
};

/// Reads "X" for the main input and "NAME=X" for an input by its name; every input of the network must be there once. X
/// is a .npy of float32 as the network takes it, (N,C,H,W), or (N,C) and (N,C,L) for inputs without the other
/// dimensions. For the main input it may also be a .png or .jpg, which is resized and prepared as the model says, or a
/// folder of such pictures. An Error names the file or input, what was found and what was expected.
Inputs read_inputs(const Model&, std::span<const std::string> inputs);

/// Images alone, of the main input: baselines.
Inputs read_images(const Model&, const std::string& path);

/// Whether a file's name says that it is a picture.
bool is_picture(const std::string& path);

/// Images between the orders (N,C,H,W) and (N,H,W,C); `s` is one image as (1,C,H,W).
std::vector<float> moved(const std::vector<float>& from, std::int64_t images, const Shape& s, bool to_nchw);

/// The pixels in [0,1] that a prepared image stands for, for showing.
std::vector<float> unprepared(const Model&, const TensorView& image);

}  // namespace vitrine::data
