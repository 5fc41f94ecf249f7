/* Hold an attention against the vectors and name its fault, in float32: ./check WHICH FILE...
   cc -O1 check.c -o check -lcjson -lm */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define CALLED(f, name) (!strcmp((f), (name)))
typedef struct { int shape[4]; double *data; } Array;
static cJSON *get(cJSON *o, const char *name) { return cJSON_GetObjectItemCaseSensitive(o, name); }
static double number(cJSON *x) { return cJSON_IsNumber(x) ? x->valuedouble : CALLED(x->valuestring, "nan") ? NAN : CALLED(x->valuestring, "inf") ? INFINITY : -INFINITY; }
static Array array(cJSON *part) { /* four axes, the first ones of length one; NULL data where there is none */
  Array a = {{1, 1, 1, 1}, NULL};
  int axes = cJSON_GetArraySize(get(part, "shape")), size = 1, i = 0;
  if (!part) return a;
  for (int n = 0; n < axes; n++) size *= a.shape[4 - axes + n] = cJSON_GetArrayItem(get(part, "shape"), n)->valueint;
  double times = get(part, "times")->valuedouble; cJSON *x, *all = get(part, "data");
  a.data = malloc(size * sizeof(double));
  if (all) cJSON_ArrayForEach(x, all) a.data[i++] = number(x) * times;
  else for (; i < size; i++) a.data[i] = get(part, "fill")->valuedouble * times;
  cJSON_ArrayForEach(x, get(part, "at")) a.data[x->child->valueint] = number(x->child->next) * times;
  return a;
}
static double at(Array a, int b, int h, int i, int j) { /* broadcast where an axis has length one */
  int place[4] = {b, h, i, j}, flat = 0; for (int n = 0; n < 4; n++) flat = flat * a.shape[n] + (a.shape[n] == 1 ? 0 : place[n]);
  return a.data[flat];
}
static int attention(cJSON *test, int bottom_right, const char *which, float *output, float *lse) { /* the one that is checked; 0: refused */
  cJSON *o = get(test, "options"), *wide = get(o, "window"), *s = get(o, "scale"), *c = get(o, "softcap");
  Array q = array(get(test, "q")), k = array(get(test, "k")), v = array(get(test, "v")), mask = array(get(o, "mask")), bias = array(get(o, "bias")), pad = array(get(o, "padding"));
  int B = q.shape[0], H = q.shape[1], T = q.shape[2], D = q.shape[3], G = k.shape[1], S = k.shape[2], E = v.shape[3], n = 0;
  if (H % G || k.shape[0] != B || k.shape[3] != D || memcmp(k.shape, v.shape, 3 * sizeof(int)) || (mask.data && mask.shape[3] != S && mask.shape[3] != 1)) return 0;
  float scale = s ? s->valuedouble : 1 / sqrtf(D), cap = c && !CALLED(which, "cap-ignored") ? c->valuedouble : 0, *z = malloc(S * sizeof(float));
  int start = bottom_right && !CALLED(which, "causal-from-the-top-left") ? S - T : 0, causal = get(o, "causal") != NULL, left = wide ? wide->child->valueint : -1, right = wide ? wide->child->next->valueint : -1;
  for (int b = 0; b < B; b++) for (int h = 0; h < H; h++) for (int i = 0; i < T; i++) {
    int g = CALLED(which, "groups-tiled") ? h % G : h / (H / G); float top = -INFINITY, total = 0;
    for (int j = 0; j < S; j++) {
      int ahead = j - i - start;
      for (int d = z[j] = 0; d < D; d++) z[j] += (float)at(q, b, h, i, d) * (float)at(k, b, g, j, d);
      z[j] = cap ? cap * tanhf(scale * z[j] / cap) : scale * z[j];
      if (bias.data) z[j] += at(bias, b, h, i, j);
      if ((causal && ahead > 0) || (left >= 0 && -ahead > left) || (right >= 0 && ahead > right) || (mask.data && !at(mask, b, h, i, j)) || (pad.data && !at(pad, 0, 0, b, j))) z[j] = -INFINITY;
      top = fmaxf(top, z[j]); }
    for (int j = 0; j < S; j++) total += z[j] = top == -INFINITY ? 0 : expf(z[j] - top);
    for (int e = 0; e < E; e++, n++) for (int j = output[n] = 0; j < S; j++) output[n] += total ? z[j] / total * (float)at(v, b, g, j, e) : 0;
    *lse++ = total ? logf(total) + top : -INFINITY; }
  return 1;
}
static double near(float *found, cJSON *wanted, cJSON *bounds, double least) { /* the largest finite distance beyond a bound and `least`; -1: none is */
  double largest = -1; cJSON *bound = bounds->child, *x;
  cJSON_ArrayForEach(x, wanted) { /* null is any number, and NaN is like NaN */
    double off = cJSON_IsNull(x) || *found == number(x) || (isnan(*found) && isnan(number(x))) ? 0 : fabs(*found - number(x));
    if (!(off <= fmax(bound->valuedouble, least))) largest = fmax(largest, isfinite(off) ? off : 0);
    found++, bound = bound->next; } return largest; }
int main(int argc, char **argv) {
  static float found[2][512]; static char names[512][64]; static int counts[512]; int right = 0, wrong = 0, flags = 0, most = 0;
  for (int file = 2; file < argc; file++) {
    FILE *f = fopen(argv[file], "rb"); char *text = calloc(1, 1 << 22); if (!f || !fread(text, 1, (1 << 22) - 1, f)) return 2;
    cJSON *root = cJSON_Parse(text), *told = get(root, "conventions"), *empty = get(told, "rows_that_see_nothing"), *corner = get(told, "causal_diagonal"), *test, *need, *fault;
    if ((empty && !CALLED(empty->valuestring, "zeros")) || !strncmp(get(root, "group")->valuestring, "gradients", 9)) continue;
    cJSON_ArrayForEach(test, get(root, "tests")) {
      int taken = 1, valid = CALLED(get(test, "result")->valuestring, "valid");
      cJSON_ArrayForEach(need, get(test, "needs")) taken &= strstr(" bias causal groups mask padding scale softcap window ", need->valuestring) != NULL;
      int given = taken && attention(test, corner && CALLED(corner->valuestring, "bottom right"), argv[1], found[0], found[1]);
      cJSON *part[2] = {get(get(test, "expected"), "output"), get(get(test, "expected"), "lse")}; double off = -1;
      for (int n = 0; n < 2 && valid && given; n++) off = fmax(off, near(found[n], get(part[n], "data"), get(get(part[n], "bounds"), "float32"), 0));
      if (!taken || (given == valid && off < 0)) { right += taken; continue; }
      wrong++, printf("%d: %s:", get(test, "tcId")->valueint, get(test, "comment")->valuestring);
      if (given && valid) cJSON_ArrayForEach(fault, get(test, "faults")) {
        int like = 1, n; char *flag = get(fault, "flag")->valuestring; const char *parts[2] = {"output", "lse"};
        for (n = 0; n < 2; n++) like &= near(found[n], get(fault, parts[n]) ? get(fault, parts[n]) : get(part[n], "data"), get(get(part[n], "bounds"), "float32"), fmax(off / 8, 1e-8)) < 0;
        for (n = 0; like && n < flags && strcmp(names[n], flag); n++);
        if (like && n == flags) strcpy(names[flags++], flag);
        if (like) printf(" %s", flag), counts[n]++, most = counts[n] > most ? counts[n] : most; }
      puts(""); } }
  printf("%d right, %d wrong", right, wrong); for (int n = 0; n < flags; n++) if (counts[n] == most) printf(" %s", names[n]);
  puts("");
}
