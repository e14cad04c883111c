// ONNX files in and out: what classifiers use of opsets 7 to 18. Inference semantics: dropout is the identity, batch
// norms use their running statistics. Importing a training graph is refused.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "models/model.h"

namespace vitrine::onnx {

struct ImportOptions {
  /// (1,C,H,W) of the main input, for files whose height and width are dynamic; must agree with what is fixed.
  std::optional<Shape> image;
  std::map<std::string, Shape> images;  ///< likewise of inputs by their names
  std::string input, output;            ///< names of the main ones; "": the first that the network has
};

/// Reads an .onnx file. Nodes keep their ONNX names (or their first output's, where they have none); other tensors'
/// names are aliases of the nodes that make them. A graph that takes NHWC and transposes first becomes an NCHW network
/// whose preparation says nhwc. An Error lists everything that is not supported, with node names; sizes are checked
/// before anything is allocated, and external data is read only from beside the file.
///
/// Inputs: of 2 to 4 dimensions with the batch first. One alone is called "input", several have the file's names. Of
/// several, those that no node reads are left out; weights that are listed as inputs are none.
///
/// Outputs: (N), (N,K), (N,K,L) and (N,C,H,W), of floats. Where several are there, those that hold whole numbers or
/// truth values (ArgMax), that are an input or constant, of more dimensions, or the same as an earlier one are left
/// out. What is left out is listed in the model's notes; what is left out and was asked for, or is all there is, is an
/// Error.
Model import_file(const std::string& path, const ImportOptions& = {});
/// Likewise from memory; external data is looked for in `folder` ("": none is allowed).
Model import_bytes(std::span<const std::byte> bytes, const std::string& path, const std::string& folder,
                   const ImportOptions& = {});

/// Writes any network as ONNX (opset 17, batch size dynamic), with what travels with the model in its metadata, so that
/// import_file gives it back: the main input and output come first. Interpretable filters and local maxima (of which
/// ONNX keeps all where several are equal) become sub-graphs for other runtimes, which import_file does not know.
void export_file(const Model&, const std::string& path);

}  // namespace vitrine::onnx
