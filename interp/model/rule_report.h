// What the rules of a ReNN do: how often each speaks, what it is worth in accuracy, and how much of the decisions'
// relevance passes through it.
#pragma once

#include <string>
#include <vector>

#include "core/host/job.h"
#include "interp/runs/subject.h"
#include "models/inside/renn.h"

namespace vitrine {

/// One piece of evidence: a rule's map, or the detections of a pattern that the global network reads directly.
struct EvidenceReport {
  std::string name;         ///< of the node: rule.NAME or direct.PATTERN
  double activation = 0;    ///< mean over images of the map's maximum
  double fired = 0;         ///< share of images where that is above 1/2
  double effect = 0;        ///< accuracy minus accuracy with the map replaced by its mean over the data
  double logit_effect = 0;  ///< likewise for the mean score of the true class
  double relevance = 0;     ///< mean over images of its signed relevance for the predicted class
  double share = 0;         ///< its |relevance| over that of all evidence, over all images
};

/// How well the local network finds the patterns: the area under the ROC curve of an image's largest detection against
/// whether the image shows the pattern (1/2 where all or none do), and the share of images that show it whose largest
/// detection lies within 1.5 places of one.
struct DetectionQuality {
  double auc = 0.5, located = 0;
};
std::vector<DetectionQuality> measure_detections(Subject&, const RuleBase&, const Job& = {});

struct RuleReport {
  double accuracy = 0;
  std::vector<EvidenceReport> evidence;  ///< rules first
  double score = 0;                      ///< mean score of the predicted class
  double to_bias =
      0;  ///< mean relevance that biases and guards of the global network took: score = sum of relevance + to_bias
  std::vector<DetectionQuality> detections;  ///< per pattern; empty where the data tells no places
};

/// Runs the subject's data once forward and back by LRP-epsilon, and once more from each piece of evidence on.
RuleReport report_rules(Subject&, const RuleBase&, const Job& = {}, std::int64_t images = 0);

/// Why a rule spoke, or did not, on one image: the truth of the rule and of each of its conditions, and where.
struct ProofNode {
  std::string text;    ///< as written in the rules file
  double truth = 0;    ///< at the place it is asked at
  float x = 0, y = 0;  ///< that place, in pixels; for exists: where the best witness lies
  std::vector<ProofNode> parts;
};
/// One proof a rule, at the rule's strongest place. `image`: one image, prepared.
std::vector<ProofNode> prove(const Model&, const Engine&, const RuleBase&, const Images& image);

}  // namespace vitrine
