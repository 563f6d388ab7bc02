// SPDX-License-Identifier: MIT
// graft without a backend and without text: layers, decorations, models, training, files.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/store.hpp>
#include <graft/io/adapter.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/model/regraft.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/train/masked_language.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/strategies.hpp>
#include <graft/version.hpp>
