/* A program that ends at once. */
void _start(void)
{
    __asm__("xor %edi, %edi\n mov $60, %eax\n syscall");
}
