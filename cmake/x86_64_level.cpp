// SPDX-License-Identifier: MIT
// Exits with the x86-64 level of the processor it runs on: 2, 3 or 4; 1 where it has none of them.
int main() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
#define HAS(x) (__builtin_cpu_supports(x) != 0)
  const bool v2 = HAS("sse4.2") && HAS("popcnt");
  const bool v3 = v2 && HAS("avx2") && HAS("fma") && HAS("bmi") && HAS("bmi2");
  const bool v4 = v3 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512cd") && HAS("avx512dq") && HAS("avx512vl");
  return v4 ? 4 : v3 ? 3 : v2 ? 2 : 1;
#else
  return 1;
#endif
}
