// The kinds of data sets, one function each: what dataset.h chooses from by the spec's prefix.
#pragma once

#include "models/data/dataset.h"
#include "models/data/partshapes.h"

namespace vitrine::data {

enum class Part { train, test, all };

/// Dataset::digest of a set that a text and its part determine bit for bit.
std::string digest_of_text(const std::string& kind, const std::string& spec, bool train);

/// Images held in memory as bytes: what most file formats become.
struct ByteImages {
  Shape shape{};                     ///< (1,C,H,W)
  std::vector<std::uint8_t> pixels;  ///< N x C x H x W
  std::vector<int> labels;
  std::vector<std::string> names;  ///< of the classes
  int classes = 0;
  Preprocessing suggested;
};
std::unique_ptr<Dataset> make_byte_dataset(ByteImages);

/// The bytes of an IDX file (unpacked) of so many dimensions.
struct Idx {
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;  ///< data only
};
Idx parse_idx(std::vector<std::byte> raw, const std::string& path, std::size_t dimensions);

/// MNIST's IDX files (plain or .gz) in a folder: train-images-idx3-ubyte, ..., t10k-labels-idx1-ubyte. Fashion-MNIST
/// has the same layout; of a first part only (train10k-...), that is taken.
std::unique_ptr<Dataset> open_idx(const std::string& folder, Part, bool fashion);
/// CIFAR-10's binary batches (plain or .gz): those of data_batch_1 ... 5 that are there, and test_batch.
std::unique_ptr<Dataset> open_cifar10(const std::string& folder, Part);
/// A folder a class, of .png and .jpg; with subfolders train and test (or val), these are the split.
std::unique_ptr<Dataset> open_folder(const std::string& spec, Part, bool& has_split, PictureFit);
/// A table of files and classes.
std::unique_ptr<Dataset> open_list(const std::string& spec, PictureFit);
/// "X,Y[,XTEST,YTEST]": arrays (N,C,H,W) and (N).
std::unique_ptr<Dataset> open_npy(const std::string& spec, Part, bool& has_split);
/// What "[TASK|det][,removal,size=S,train=N,validation=N,test=N,interventions=N,master=M,samples=K]" asks for; a usage
/// Error says what is wrong with it. Sizes that are not given are the task's usual ones.
struct PartShapesOptions {
  TaskSpec task;
  bool detection = false, removal = false;
  int size = 64, samples = 4;
  std::int64_t train = 0, validation = 0, test = 0, interventions = 0;
  std::uint64_t master = 1;
};
PartShapesOptions parse_partshapes(const std::string& spec);

/// "[variant,...]" of the procedural set (partshapes.h).
std::unique_ptr<Dataset> open_partshapes(const std::string& spec, Part);

/// "[order|count|pulses][,train=N,...]" of worlds whose class is a relation (relations.cpp).
std::unique_ptr<Dataset> open_relations(const std::string& spec, Part);

/// Every tenth image of each class, or the other nine.
std::unique_ptr<Dataset> tenth(std::shared_ptr<const Dataset>, bool test);

}  // namespace vitrine::data
