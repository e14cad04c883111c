// PartShapes as files for other programs.
//
//   DIR/manifest.json                 {schema "partshapes/1", generator_version, master, size, samples, sets: [{task,
//   split, images}],
//                                      files: {path: sha256}}
//   DIR/TASK/SPLIT/images.bin         'PSH1', int32 N,C,H,W little endian, then u8 N*C*H*W
//                  parts.bin instance.bin distractor.bin   likewise with C = 1
//                  labels.i32 targets.f32 attr.i32 (N x 10, -1: no such value) landmarks.f32 (N x 4 x 2, NaN: not
//                  drawn) captions.txt       five lines an image; table.csv: 26 columns and the label. Both where every
//                  object is a critter
//                                     with all attributes
//   DIR/TASK/interventions/KIND/...   likewise; row r belongs to line r of index.csv (row, n, kind, argument). KIND
//   remove: the 16
//                                     sets of parts as bits; distractor: each placed one removed. Of the first test
//                                     images
//   DIR/det/SPLIT/                    images.bin, parts.bin, instance.bin, boxes.csv (n, object, kind, x1, y1, x2, y2)
// SPLIT is train, validation, test. Numbers are little endian.
#pragma once

#include <functional>
#include <string>

namespace vitrine::data {

/// Writes what a spec "[TASK|det][,train=N,validation=N,test=N,interventions=N,...]" asks for (0 leaves a part out) and
/// returns how many files that were, the manifest apart. Files of a part get their names when all of it is written;
/// `stop` is asked between images, and true ends with an Error. Throws Error where the folder cannot be written.
std::size_t write_partshapes(const std::string& spec, const std::string& folder,
                             const std::function<bool()>& stop = {});

}  // namespace vitrine::data
