// Stands in for import.cpp and export.cpp in builds without ONNX's message library.
#include "models/onnx/onnx.h"

namespace vitrine::onnx {
namespace {

[[noreturn]] void absent(const std::string& path) {
  throw Error(path + ": this build of vitrine knows no ONNX (it was configured without libonnx and protobuf)");
}

}  // namespace

Model import_file(const std::string& path, const ImportOptions&) { absent(path); }
Model import_bytes(std::span<const std::byte>, const std::string& path, const std::string&, const ImportOptions&) {
  absent(path);
}
void export_file(const Model&, const std::string& path) { absent(path); }

}  // namespace vitrine::onnx
