// SPDX-License-Identifier: MIT
// AdapterHub's folders, both ways: is_adapterhub, read_adapterhub, write_adapterhub.
#pragma once

#include <graft/io/adapterhub_read.hpp>
#include <graft/io/adapterhub_write.hpp>
