/* Marks what the library shows to its callers. */
#ifndef MASKUPE_EXPORT_H
#define MASKUPE_EXPORT_H

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#endif
