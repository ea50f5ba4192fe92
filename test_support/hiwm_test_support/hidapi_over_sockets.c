/* A hidapi that uses sockets instead of USB. Tests load it in place of libhidapi-hidraw.so.0.
 *
 * The folder named by FAKE_HIDAPI is the bus. A device is a SEQPACKET socket in it, with one packet
 * per report, and a text file NAME.info: vendor and product id (hex), usage page and usage
 * (decimal), serial number or "-". Closing the other end unplugs the device; with
 * FAKE_HIDAPI_QUIET set, reading continues as if nothing had happened, as with some drivers.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <wchar.h>

struct hid_device_info {
    char *path;
    unsigned short vendor_id, product_id;
    wchar_t *serial_number;
    unsigned short release_number;
    wchar_t *manufacturer_string, *product_string;
    unsigned short usage_page, usage;
    int interface_number;
    struct hid_device_info *next;
};

typedef struct { int fd; int nonblocking; } hid_device;

static wchar_t *wide(const char *text)
{
    size_t length = strlen(text) + 1;
    wchar_t *result = calloc(length, sizeof *result);
    mbstowcs(result, text, length);
    return result;
}

struct hid_device_info *hid_enumerate(unsigned short vendor, unsigned short product)
{
    const char *bus = getenv("FAKE_HIDAPI");
    struct dirent **names = NULL;
    struct hid_device_info *first = NULL, **next = &first;
    int count = bus ? scandir(bus, &names, NULL, alphasort) : 0;
    for (int i = 0; i < count; i++) {
        char *end = strstr(names[i]->d_name, ".info"), file[512], serial[128];
        unsigned vid, pid, page, usage;
        snprintf(file, sizeof file, "%s/%s", bus, names[i]->d_name);
        FILE *info = end ? fopen(file, "r") : NULL;
        if (info && fscanf(info, "%x %x %u %u %127s", &vid, &pid, &page, &usage, serial) == 5
            && (!vendor || vendor == vid) && (!product || product == pid)) {
            struct hid_device_info *found = calloc(1, sizeof *found);
            *strstr(file, ".info") = 0;
            found->path = strdup(file);
            found->vendor_id = vid;
            found->product_id = pid;
            found->usage_page = page;
            found->usage = usage;
            found->serial_number = strcmp(serial, "-") ? wide(serial) : NULL;
            found->manufacturer_string = wide("3Dconnexion");
            found->product_string = wide("fake");
            *next = found;
            next = &found->next;
        }
        if (info)
            fclose(info);
        free(names[i]);
    }
    free(names);
    return first;
}

void hid_free_enumeration(struct hid_device_info *device)
{
    while (device) {
        struct hid_device_info *next = device->next;
        free(device->path);
        free(device->serial_number);
        free(device->manufacturer_string);
        free(device->product_string);
        free(device);
        device = next;
    }
}

hid_device *hid_open_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return NULL;
    }
    hid_device *device = calloc(1, sizeof *device);
    device->fd = fd;
    return device;
}

int hid_read_timeout(hid_device *device, unsigned char *data, size_t length, int milliseconds)
{
    struct pollfd waiting = {.fd = device->fd, .events = POLLIN};
    int ready = poll(&waiting, 1, milliseconds);
    if (ready <= 0)
        return ready;
    if (waiting.revents & (POLLERR | POLLNVAL))
        return -1;
    /* Like hidraw: one report per read, truncated to the buffer. */
    ssize_t got = recv(device->fd, data, length, 0);
    if (got == 0 && getenv("FAKE_HIDAPI_QUIET")) {
        usleep(1000 * (milliseconds > 0 ? milliseconds : 0));
        return 0;
    }
    return got > 0 ? (int)got : -1;
}

int hid_read(hid_device *device, unsigned char *data, size_t length)
{
    return hid_read_timeout(device, data, length, device->nonblocking ? 0 : -1);
}

int hid_set_nonblocking(hid_device *device, int nonblocking)
{
    device->nonblocking = nonblocking;
    return 0;
}

void hid_close(hid_device *device)
{
    close(device->fd);
    free(device);
}

int hid_write(hid_device *device, const unsigned char *data, size_t length)
{
    (void)device, (void)data;
    return (int)length;
}
