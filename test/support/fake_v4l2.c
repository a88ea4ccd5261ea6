/* Copyright 2026 The vla_adapter_ros authors. Licensed under the Apache License, Version 2.0.
 *
 * A USB camera for tests: preloaded into a process, it answers the Video4Linux2 requests on one
 * file as a UVC camera would. The file FAKE_CAMERA stands for the device: removing it unplugs the
 * camera. FAKE_CAMERA_FRAMES holds MJPG frames in slots of SLOT bytes, each a 32-bit length and a
 * JPEG. FAKE_CAMERA_LOG gets a line for each control that is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SLOT (256 * 1024)
#define BUFFERS 8
#define LATENCY 0.015 /* from exposure to arrival [s] */

struct mode {
  uint32_t width, height, rates[2];
};
static const struct mode modes[] = {{640, 480, {30, 15}}, {1280, 720, {30, 0}}};

static int device = -1, streaming, count, queue[BUFFERS], queued;
static uint32_t width = 640, height = 480, rate = 30;
static double started, filled[BUFFERS], last_fill; /* when each queued buffer has its frame */
static uint8_t *buffers, *frames;
static size_t frame_count;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static int fail(int number) {
  errno = number;
  return -1;
}

static int plugged(void) { return access(getenv("FAKE_CAMERA"), F_OK) == 0; }

static int open_camera(void) {
  int file = memfd_create("fake camera", 0);
  if (ftruncate(file, SLOT * BUFFERS)) return -1;
  buffers = mmap(NULL, SLOT * BUFFERS, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  return file;
}

static void load_frames(void) {
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  int file = real(getenv("FAKE_CAMERA_FRAMES"), O_RDONLY);
  struct stat info;
  fstat(file, &info);
  frame_count = info.st_size / SLOT;
  frames = mmap(NULL, info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
}

static int is_camera(const char *path) {
  const char *camera = getenv("FAKE_CAMERA");
  return camera && path && !strcmp(path, camera) && plugged();
}

/* All descriptors share one camera; our own keeps its memory. */
static int open_any(const char *path, int flags, mode_t permissions, const char *name) {
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
  if (!is_camera(path)) return real(path, flags, permissions);
  if (!frames) load_frames();
  if (device < 0) device = open_camera();
  return dup(device);
}

#define OPEN(name)                                        \
  int name(const char *path, int flags, ...) {            \
    va_list list;                                         \
    va_start(list, flags);                                \
    mode_t permissions = va_arg(list, mode_t);            \
    va_end(list);                                         \
    return open_any(path, flags, permissions, #name);     \
  }
OPEN(open)
OPEN(open64)

static int same_file(int descriptor) {
  struct stat a, b;
  return device >= 0 && !fstat(descriptor, &a) && !fstat(device, &b) && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

static const struct mode *find_mode(uint32_t w, uint32_t h) {
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
    if (modes[i].width == w && modes[i].height == h) return &modes[i];
  return NULL;
}

static int set_format(struct v4l2_format *format) {
  struct v4l2_pix_format *pixels = &format->fmt.pix;
  if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
  if (find_mode(pixels->width, pixels->height)) width = pixels->width, height = pixels->height;
  pixels->width = width;
  pixels->height = height;
  pixels->pixelformat = V4L2_PIX_FMT_MJPEG;
  pixels->field = V4L2_FIELD_NONE;
  pixels->bytesperline = 0;
  pixels->sizeimage = SLOT;
  return 0;
}

static int set_control(const struct v4l2_control *control) {
  FILE *log = fopen(getenv("FAKE_CAMERA_LOG"), "a");
  fprintf(log, "%x %d %s\n", control->id, control->value, streaming ? "streaming" : "idle");
  fclose(log);
  return 0;
}

static int query_control(struct v4l2_queryctrl *query) {
  static const struct {
    uint32_t id;
    int low, high;
  } known[] = {{V4L2_CID_FOCUS_ABSOLUTE, 0, 250},   {V4L2_CID_FOCUS_AUTO, 0, 1},
               {V4L2_CID_EXPOSURE_ABSOLUTE, 3, 2047}, {V4L2_CID_EXPOSURE_AUTO, 0, 3},
               {V4L2_CID_EXPOSURE_AUTO_PRIORITY, 0, 1}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].id == query->id) {
      query->minimum = known[i].low;
      query->maximum = known[i].high;
      query->step = 1;
      query->flags = 0;
      return 0;
    }
  return fail(EINVAL);
}

static int enumerate_interval(struct v4l2_frmivalenum *entry) {
  const struct mode *mode = find_mode(entry->width, entry->height);
  if (!mode || entry->index > 1 || !mode->rates[entry->index]) return fail(EINVAL);
  entry->type = V4L2_FRMIVAL_TYPE_DISCRETE;
  entry->discrete.numerator = 1;
  entry->discrete.denominator = mode->rates[entry->index];
  return 0;
}

/* As in the kernel, frames fill the queued buffers in order and are dropped when there is none: a
 * reader that pauses finds old frames first. */
static void plan_fill(int place) {
  double earliest = now() - started;
  double next = (uint64_t)(earliest * rate + 1) / (double)rate;
  if (next < last_fill + 1.0 / rate) next = last_fill + 1.0 / rate;
  filled[place] = last_fill = next;
}

static int queue_buffer(int index) {
  if (queued == BUFFERS) return fail(EINVAL);
  if (streaming) plan_fill(queued);
  queue[queued++] = index;
  return 0;
}

static int start_streaming(void) {
  streaming = 1;
  started = now();
  last_fill = 0;
  for (int i = 0; i < queued; i++) plan_fill(i);
  return 0;
}

static int give_frame(struct v4l2_buffer *buffer) {
  if (!plugged()) return fail(ENODEV);
  if (!streaming || !queued) return fail(EAGAIN);
  double taken = started + filled[0], left = taken + LATENCY - now();
  if (left > 0) usleep(left * 1e6);
  uint64_t sequence = filled[0] * rate + 0.5;
  const uint8_t *frame = frames + (sequence % frame_count) * SLOT;
  uint32_t length;
  memcpy(&length, frame, 4);
  int index = queue[0];
  queued--;
  memmove(queue, queue + 1, sizeof *queue * queued);
  memmove(filled, filled + 1, sizeof *filled * queued);
  memcpy(buffers + index * SLOT, frame + 4, length);
  buffer->index = index;
  buffer->bytesused = length;
  buffer->length = SLOT;
  buffer->sequence = sequence;
  buffer->timestamp.tv_sec = taken;
  buffer->timestamp.tv_usec = (taken - (long)taken) * 1e6;
  buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
  return 0;
}

static int answer(unsigned long request, void *data) {
  if (!plugged()) return fail(ENODEV);
  switch (request) {
    case VIDIOC_QUERYCAP: {
      struct v4l2_capability *capability = data;
      memset(capability, 0, sizeof *capability);
      strcpy((char *)capability->driver, "uvcvideo");
      strcpy((char *)capability->card, "Fake C920e");
      capability->capabilities = V4L2_CAP_DEVICE_CAPS;
      capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
      capability->capabilities |= capability->device_caps;
      return 0;
    }
    case VIDIOC_ENUM_FMT: {
      struct v4l2_fmtdesc *entry = data;
      if (entry->index || entry->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
      entry->pixelformat = V4L2_PIX_FMT_MJPEG;
      return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
      struct v4l2_frmsizeenum *entry = data;
      if (entry->index >= 2 || entry->pixel_format != V4L2_PIX_FMT_MJPEG) return fail(EINVAL);
      entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
      entry->discrete.width = modes[entry->index].width;
      entry->discrete.height = modes[entry->index].height;
      return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS:
      return enumerate_interval(data);
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT:
      return set_format(data);
    case VIDIOC_S_PARM: {
      struct v4l2_streamparm *parm = data;
      rate = parm->parm.capture.timeperframe.denominator / parm->parm.capture.timeperframe.numerator;
    } /* fall through */
    case VIDIOC_G_PARM: {
      struct v4l2_streamparm *parm = data;
      parm->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
      parm->parm.capture.timeperframe.numerator = 1;
      parm->parm.capture.timeperframe.denominator = rate;
      return 0;
    }
    case VIDIOC_REQBUFS: {
      struct v4l2_requestbuffers *wanted = data;
      if (wanted->count > BUFFERS) wanted->count = BUFFERS;
      count = wanted->count;
      queued = 0;
      return 0;
    }
    case VIDIOC_QUERYBUF: {
      struct v4l2_buffer *buffer = data;
      if ((int)buffer->index >= count) return fail(EINVAL);
      buffer->length = SLOT;
      buffer->m.offset = buffer->index * SLOT;
      return 0;
    }
    case VIDIOC_QBUF:
      return queue_buffer(((struct v4l2_buffer *)data)->index);
    case VIDIOC_DQBUF:
      return give_frame(data);
    case VIDIOC_STREAMON:
      return start_streaming();
    case VIDIOC_STREAMOFF:
      streaming = queued = 0;
      return 0;
    case VIDIOC_QUERYCTRL:
      return query_control(data);
    case VIDIOC_S_CTRL:
      return set_control(data);
    default:
      return fail(EINVAL);
  }
}

int ioctl(int descriptor, unsigned long request, ...) {
  static int (*real)(int, unsigned long, ...);
  if (!real) real = dlsym(RTLD_NEXT, "ioctl");
  va_list list;
  va_start(list, request);
  void *data = va_arg(list, void *);
  va_end(list);
  return same_file(descriptor) ? answer(request & 0xffffffff, data) : real(descriptor, request, data);
}
