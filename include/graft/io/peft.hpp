// SPDX-License-Identifier: MIT
// The adapter folders of Python's PEFT, both ways.
#pragma once

#include <graft/io/peft_read.hpp>
#include <graft/io/peft_write.hpp>
