// Weights made elsewhere: safetensors files of PyTorch state dicts, into an architecture by name.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "models/model.h"

namespace vitrine {

struct StateDictOptions {
  std::string architecture;
  std::optional<Shape> image;  ///< (1,C,H,W); else the architecture's usual one
  /// Beginnings of the file's tensor names, and what stands for them here; the longest that fits is taken.
  std::map<std::string, std::string> names;
};

/// The number of classes is that of the file's last linear layer. "module.", "model." and "_orig_mod." before every
/// name are taken off; num_batches_tracked is ignored. An Error lists the tensors that are missing, left over or of
/// another shape.
Model import_state_dict(const std::string& path, const StateDictOptions&);

/// Writes the parameters alone under their names, as torch.nn.Module.load_state_dict takes them.
void export_state_dict(const Model&, const std::string& path);

/// A JSON object of strings: StateDictOptions::names from a file.
std::map<std::string, std::string> read_name_map(const std::string& path);

}  // namespace vitrine
