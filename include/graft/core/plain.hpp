// SPDX-License-Identifier: MIT
// Where plain functions, which are no templates, are compiled.
//
// A header declares its longer ones with GRAFT_PLAIN and defines them at its end, under GRAFT_BODIES: they
// are compiled in every file that includes it. A program may compile them once: define GRAFT_EXTERN everywhere
// and add graft_extern.cpp to its sources; no other file then parses them, nor nlohmann-json.
#pragma once

#ifndef GRAFT_EXTERN
#define GRAFT_PLAIN inline
#define GRAFT_BODIES 1
#else
#define GRAFT_PLAIN
#ifdef GRAFT_EXTERN_HERE
#define GRAFT_BODIES 1
#else
#define GRAFT_BODIES 0
#endif
#endif
