// What fork+exec starts: nothing.
int main(void) { return 0; }
